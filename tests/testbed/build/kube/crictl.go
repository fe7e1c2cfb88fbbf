package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis"
	api "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
)

// crictl is the part of cri-tools that an operator of one node uses; the module itself cannot be had from the proxy.
// Output of `-o json` is in cri-tools' shape (the CRI messages as protojson).
type crictl struct {
	runtime           cri.RuntimeService
	images            cri.ImageManagerService
	endpoint, output  string
	timeout           time.Duration
	quiet, all, prune bool
}

func newCrictl() *cobra.Command {
	c := &crictl{}
	root := &cobra.Command{
		Use: "crictl", SilenceUsage: true, SilenceErrors: false, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return c.connect() },
	}
	fallback := os.Getenv("CONTAINER_RUNTIME_ENDPOINT")
	if fallback == "" {
		fallback = "unix:///run/k3s/containerd/containerd.sock"
	}
	root.PersistentFlags().StringVarP(&c.endpoint, "runtime-endpoint", "r", fallback, "where the runtime listens")
	root.PersistentFlags().DurationVarP(&c.timeout, "timeout", "t", 2*time.Minute, "for each request")
	add := func(use string, aliases []string, args cobra.PositionalArgs, run func(context.Context, []string) error) *cobra.Command {
		command := &cobra.Command{Use: use, Aliases: aliases, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
			defer cancel()
			return run(ctx, args)
		}}
		command.Flags().StringVarP(&c.output, "output", "o", "table", "table or json")
		command.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "ids only")
		root.AddCommand(command)
		return command
	}
	add("images", []string{"image", "img"}, cobra.ArbitraryArgs, c.listImages)
	remove := add("rmi", nil, cobra.ArbitraryArgs, c.removeImages)
	remove.Flags().BoolVarP(&c.all, "all", "a", false, "all images")
	remove.Flags().BoolVar(&c.prune, "prune", false, "all that no container uses")
	add("inspecti IMAGE", nil, cobra.ExactArgs(1), c.inspectImage)
	add("imagefsinfo", nil, cobra.NoArgs, c.imageFs)
	add("pull IMAGE", nil, cobra.ExactArgs(1), c.pull)
	ps := add("ps", nil, cobra.NoArgs, c.listContainers)
	ps.Flags().BoolVarP(&c.all, "all", "a", false, "ended ones too")
	add("inspect CONTAINER", nil, cobra.ExactArgs(1), c.inspectContainer)
	add("pods", nil, cobra.NoArgs, c.listPods)
	add("info", nil, cobra.NoArgs, c.info)
	add("version", nil, cobra.NoArgs, c.version)
	add("stop CONTAINER...", nil, cobra.MinimumNArgs(1), each(func(ctx context.Context, id string) error { return c.runtime.StopContainer(ctx, id, 10) }))
	add("rm CONTAINER...", nil, cobra.MinimumNArgs(1), each(func(ctx context.Context, id string) error { return c.runtime.RemoveContainer(ctx, id) }))
	add("stopp POD...", nil, cobra.MinimumNArgs(1), each(func(ctx context.Context, id string) error { return c.runtime.StopPodSandbox(ctx, id) }))
	add("rmp POD...", nil, cobra.MinimumNArgs(1), each(func(ctx context.Context, id string) error { return c.runtime.RemovePodSandbox(ctx, id) }))
	return root
}

func each(do func(context.Context, string) error) func(context.Context, []string) error {
	return func(ctx context.Context, ids []string) error {
		for _, id := range ids {
			if err := do(ctx, id); err != nil {
				return err
			}
			fmt.Println(id)
		}
		return nil
	}
}

func (c *crictl) connect() (err error) {
	if c.runtime, err = remote.NewRemoteRuntimeService(c.endpoint, c.timeout, nil, nil); err != nil {
		return err
	}
	c.images, err = remote.NewRemoteImageService(c.endpoint, c.timeout, nil, nil)
	return err
}

// show prints messages as {"key": [...]}, or one message by itself when there is no key.
func show(key string, messages ...proto.Message) error {
	marshal := protojson.MarshalOptions{EmitUnpopulated: true}
	parts := make([]json.RawMessage, 0, len(messages))
	for _, message := range messages {
		raw, err := marshal.Marshal(message)
		if err != nil {
			return err
		}
		parts = append(parts, raw)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if key == "" {
		return encoder.Encode(parts[0])
	}
	return encoder.Encode(map[string][]json.RawMessage{key: parts})
}

func table(rows [][]string) error {
	out := tabwriter.NewWriter(os.Stdout, 10, 1, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	return out.Flush()
}

// messages is a list of generated types as a list of the interface.
func messages[T proto.Message](list []T) []proto.Message {
	out := make([]proto.Message, len(list))
	for i, item := range list {
		out[i] = item
	}
	return out
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(13, len(id))]
}

func (c *crictl) listImages(ctx context.Context, args []string) error {
	filter := &api.ImageFilter{}
	if len(args) > 0 {
		filter.Image = &api.ImageSpec{Image: args[0]}
	}
	images, err := c.images.ListImages(ctx, filter)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return show("images", messages(images)...)
	}
	rows := [][]string{{"IMAGE", "TAG", "IMAGE ID", "SIZE"}}
	for _, image := range images {
		if c.quiet {
			fmt.Println(image.Id)
			continue
		}
		for _, name := range append(image.RepoTags, untagged(image)...) {
			at := strings.LastIndex(name, ":")
			rows = append(rows, []string{name[:at], name[at+1:], short(image.Id), fmt.Sprintf("%.1fMB", float64(image.Size)/1e6)})
		}
	}
	if c.quiet {
		return nil
	}
	return table(rows)
}

func untagged(image *api.Image) []string {
	if len(image.RepoTags) > 0 {
		return nil
	}
	return []string{"<none>:<none>"}
}

// removeImages removes by name or id; with --prune, what no container uses and nothing pins.
func (c *crictl) removeImages(ctx context.Context, args []string) error {
	if !c.all && !c.prune {
		if len(args) == 0 {
			return errors.New("say which image, or --prune, or --all")
		}
		return each(func(ctx context.Context, name string) error {
			return c.images.RemoveImage(ctx, &api.ImageSpec{Image: name})
		})(ctx, args)
	}
	images, err := c.images.ListImages(ctx, nil)
	if err != nil {
		return err
	}
	used := map[string]bool{}
	if c.prune {
		containers, err := c.runtime.ListContainers(ctx, nil)
		if err != nil {
			return err
		}
		for _, container := range containers {
			used[container.ImageRef], used[container.Image.GetImage()], used[container.ImageId] = true, true, true
		}
	}
	for _, image := range images {
		if image.Pinned || used[image.Id] {
			continue
		}
		if err := c.images.RemoveImage(ctx, &api.ImageSpec{Image: image.Id}); err != nil {
			return err
		}
		fmt.Println("Deleted:", strings.Join(append(image.RepoTags, untagged(image)...), " "))
	}
	return nil
}

func (c *crictl) inspectImage(ctx context.Context, args []string) error {
	answer, err := c.images.ImageStatus(ctx, &api.ImageSpec{Image: args[0]}, true)
	if err != nil {
		return err
	}
	if answer.Image == nil {
		return fmt.Errorf("no such image %q present", args[0])
	}
	return show("", answer)
}

func (c *crictl) imageFs(ctx context.Context, _ []string) error {
	answer, err := c.images.ImageFsInfo(ctx)
	if err != nil {
		return err
	}
	return show("", answer)
}

func (c *crictl) pull(ctx context.Context, args []string) error {
	reference, err := c.images.PullImage(ctx, &api.ImageSpec{Image: args[0]}, nil, nil)
	if err == nil {
		fmt.Println("Image is up to date for", reference)
	}
	return err
}

func (c *crictl) listContainers(ctx context.Context, _ []string) error {
	filter := &api.ContainerFilter{}
	if !c.all {
		filter.State = &api.ContainerStateValue{State: api.ContainerState_CONTAINER_RUNNING}
	}
	containers, err := c.runtime.ListContainers(ctx, filter)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return show("containers", messages(containers)...)
	}
	rows := [][]string{{"CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"}}
	for _, one := range containers {
		if c.quiet {
			fmt.Println(one.Id)
			continue
		}
		state := strings.TrimPrefix(one.State.String(), "CONTAINER_")
		rows = append(rows, []string{
			short(one.Id), short(one.Image.GetImage()), ago(one.CreatedAt), strings.Title(strings.ToLower(state)), //nolint:staticcheck
			one.Metadata.GetName(), fmt.Sprint(one.Metadata.GetAttempt()), short(one.PodSandboxId),
			one.Labels["io.kubernetes.pod.name"], one.Labels["io.kubernetes.pod.namespace"],
		})
	}
	if c.quiet {
		return nil
	}
	return table(rows)
}

func ago(nanoseconds int64) string {
	return time.Since(time.Unix(0, nanoseconds)).Round(time.Second).String() + " ago"
}

func (c *crictl) inspectContainer(ctx context.Context, args []string) error {
	answer, err := c.runtime.ContainerStatus(ctx, args[0], true)
	if err != nil {
		return err
	}
	return show("", answer)
}

func (c *crictl) listPods(ctx context.Context, _ []string) error {
	pods, err := c.runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return show("items", messages(pods)...)
	}
	rows := [][]string{{"POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"}}
	for _, pod := range pods {
		if c.quiet {
			fmt.Println(pod.Id)
			continue
		}
		state := map[bool]string{true: "Ready", false: "NotReady"}[pod.State == api.PodSandboxState_SANDBOX_READY]
		rows = append(rows, []string{
			short(pod.Id), ago(pod.CreatedAt), state, pod.Metadata.GetName(), pod.Metadata.GetNamespace(),
			fmt.Sprint(pod.Metadata.GetAttempt()), "(default)",
		})
	}
	if c.quiet {
		return nil
	}
	return table(rows)
}

func (c *crictl) info(ctx context.Context, _ []string) error {
	answer, err := c.runtime.Status(ctx, false)
	if err != nil {
		return err
	}
	return show("", answer)
}

func (c *crictl) version(ctx context.Context, _ []string) error {
	answer, err := c.runtime.Version(ctx, "")
	if err != nil {
		return err
	}
	fmt.Printf("Version:  %s\nRuntimeName:  %s\nRuntimeVersion:  %s\nRuntimeApiVersion:  %s\n",
		answer.Version, answer.RuntimeName, answer.RuntimeVersion, answer.RuntimeApiVersion)
	return nil
}
