package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// chartConfig is K3s's HelmChartConfig: what an operator lays over the values of a chart that K3s brings.
type chartConfig struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	} `yaml:"metadata"`
	Spec struct {
		ValuesContent string `yaml:"valuesContent"`
	} `yaml:"spec"`
}

// traefikValues are the values of Traefik's chart that the stand-in honours; any other is refused, as the chart's own
// schema refuses what it does not know.
type traefikValues struct {
	AdditionalArguments    []string         `yaml:"additionalArguments"`
	AdditionalVolumeMounts []map[string]any `yaml:"additionalVolumeMounts"`
	Deployment             struct {
		AdditionalVolumes []map[string]any `yaml:"additionalVolumes"`
	} `yaml:"deployment"`
	Resources      map[string]any `yaml:"resources"`
	UpdateStrategy struct {
		Type string `yaml:"type"`
	} `yaml:"updateStrategy"`
}

// readTraefik finds the HelmChartConfig for Traefik in the manifests at paths: no values where there is none.
func readTraefik(paths []string) (*traefikValues, error) {
	found := &traefikValues{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(raw, []byte("HelmChartConfig")) {
			continue
		}
		decoder := yaml.NewDecoder(bytes.NewReader(raw))
		for {
			var document chartConfig
			err := decoder.Decode(&document)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if document.Kind != "HelmChartConfig" {
				continue
			}
			if document.Metadata.Name != "traefik" || document.Metadata.Namespace != "kube-system" {
				return nil, fmt.Errorf("%s: the stand-in has no chart %s/%s", path, document.Metadata.Namespace, document.Metadata.Name)
			}
			if found, err = parseTraefik(document.Spec.ValuesContent); err != nil {
				return nil, fmt.Errorf("%s: HelmChartConfig traefik: %w", path, err)
			}
		}
	}
	return found, nil
}

func parseTraefik(content string) (*traefikValues, error) {
	values := &traefikValues{}
	decoder := yaml.NewDecoder(strings.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(values); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// The chart's own is RollingUpdate; two Traefiks cannot have the node's ports at once, so that it is Recreate here.
	switch values.UpdateStrategy.Type {
	case "", "Recreate":
	default:
		return nil, fmt.Errorf("updateStrategy.type: the stand-in supports Recreate only, not %q", values.UpdateStrategy.Type)
	}
	return values, nil
}

// replacements are the values as they stand in manifests/traefik.yaml.
func (v *traefikValues) replacements() ([]string, error) {
	var args strings.Builder
	for _, argument := range v.AdditionalArguments {
		text, err := json.Marshal(argument)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&args, "- %s\n        ", text)
	}
	mounts, err := more(v.AdditionalVolumeMounts)
	if err != nil {
		return nil, err
	}
	volumes, err := more(v.Deployment.AdditionalVolumes)
	if err != nil {
		return nil, err
	}
	resources := []byte("{}")
	if v.Resources != nil {
		if resources, err = json.Marshal(v.Resources); err != nil {
			return nil, err
		}
	}
	return []string{
		"%{TRAEFIK_ARGS}%", args.String(), "%{TRAEFIK_MOUNTS}%", mounts, "%{TRAEFIK_VOLUMES}%", volumes,
		"%{TRAEFIK_RESOURCES}%", string(resources),
	}, nil
}

func more(items []map[string]any) (string, error) {
	var out strings.Builder
	for _, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			return "", err
		}
		out.WriteString(", " + string(text))
	}
	return out.String(), nil
}
