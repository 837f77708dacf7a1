//go:build linux

package test

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// faultsOfDockerfile are what the parser and the linter of docker build say.
func faultsOfDockerfile(text string) (faults []string) {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	for _, w := range parsed.Warnings {
		faults = append(faults, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(name, _, _, message string, _ []parser.Range) {
		faults = append(faults, name+": "+message)
	}})
	if _, _, err := instructions.Parse(parsed.AST, lint); err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

func TestTheDockerfileHasNoFaultsForItsLinter(t *testing.T) {
	text := deployFile(t, "Dockerfile")
	if faults := faultsOfDockerfile(text); len(faults) > 0 {
		t.Error(faults)
	}
	for a, b := range map[string]string{"USER ": "USERS ", "AS build": "as Build", "--from=build": "--form=build",
		`CMD ["serve"]`: "CMD serve\nMAINTAINER me"} {
		if wrong := strings.Replace(text, a, b, 1); wrong == text || len(faultsOfDockerfile(wrong)) == 0 {
			t.Errorf("%q in place of %q is not found", b, a)
		}
	}
}

// faultOfKubernetes is why an object is none of the API of Kubernetes: a member
// that it does not know, or a value of another type.
func faultOfKubernetes(text string) error {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
		return err
	}
	if kind.Kind == "Service" {
		return yaml.UnmarshalStrict([]byte(text), new(core.Service))
	}
	return yaml.UnmarshalStrict([]byte(text), new(apps.Deployment))
}

func TestTheKubernetesExampleIsOfItsAPI(t *testing.T) {
	objects := strings.Split(deployFile(t, "kubernetes.yaml"), "\n---\n")
	if len(objects) != 3 {
		t.Errorf("%d objects", len(objects))
	}
	for _, text := range objects {
		if err := faultOfKubernetes(text); err != nil {
			t.Error(err)
		}
	}
	for a, b := range map[string]string{"readinessProbe": "readinesProbe", "replicas: 2": "replicas: two",
		"terminationGracePeriodSeconds": "terminationGraceSeconds"} {
		if wrong := strings.Replace(objects[0], a, b, 1); wrong == objects[0] || faultOfKubernetes(wrong) == nil {
			t.Errorf("%q in place of %q is not found", b, a)
		}
	}
}
