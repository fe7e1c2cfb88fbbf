package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// newNetpol is kube-router's NetworkPolicy controller without its routing, proxy and load balancer: the part that K3s
// embeds. Flags are kube-router's own.
func newNetpol() *cobra.Command {
	config := options.NewKubeRouterConfig()
	command := &cobra.Command{
		Use: "kube-router", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error { return runNetpol(command.Context(), config) },
	}
	config.AddFlags(command.Flags())
	return command
}

func runNetpol(ctx context.Context, config *options.KubeRouterConfig) error {
	access, err := clientcmd.BuildConfigFromFlags(config.Master, config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods().Informer(), factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(ctx.Done())
	waiting, stop := context.WithTimeout(ctx, config.CacheSyncTimeout)
	defer stop()
	if !cache.WaitForCacheSync(waiting.Done(), pods.HasSynced, namespaces.HasSynced, policies.HasSynced) {
		return fmt.Errorf("waited %s for the API server's pods, namespaces and policies", config.CacheSyncTimeout)
	}

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &sync.Mutex{}, nil, tables, sets)
	if err != nil {
		return err
	}
	_, first := pods.AddEventHandler(controller.PodEventHandler)
	_, second := namespaces.AddEventHandler(controller.NamespaceEventHandler)
	_, third := policies.AddEventHandler(controller.NetworkPolicyEventHandler)
	if err := errors.Join(first, second, third); err != nil {
		return err
	}
	return follow(ctx, controller)
}

// follow runs the controller to the end. It tells a channel that it is alive, and would wait if nobody read.
func follow(ctx context.Context, controller *netpol.NetworkPolicyController) error {
	beats := make(chan *healthcheck.ControllerHeartbeat, 10)
	go func() {
		for range beats {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, ctx.Done(), &running)
	running.Wait()
	close(beats)
	return nil
}
