package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is openapi.json.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Action      Action `json:"x-action"`
		Summary     string `json:"summary"`
		Parameters  []struct {
			Name     string `json:"name"`
			In       string `json:"in"`
			Required bool   `json:"required"`
		} `json:"parameters"`
		RequestBody struct {
			Content map[string]struct {
				Schema json.RawMessage `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]struct {
			Content map[string]struct {
				Schema json.RawMessage `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct {
				Enum []any `json:"enum"`
			} `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

var theDocument = sync.OnceValue(func() *document {
	var doc document
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		panic(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		panic(err)
	}
	closed(value)
	doc.compiler = jsonschema.NewCompiler()
	doc.compiler.AssertFormat()
	if err := doc.compiler.AddResource("openapi.json", value); err != nil {
		panic(err)
	}
	return &doc
})

// closed makes a member that is not in the document a misfit, although readers
// are to ignore it: of each object, and of one that is made of parts as a whole.
func closed(v any) {
	switch x := v.(type) {
	case []any:
		for _, one := range x {
			closed(one)
		}
	case map[string]any:
		if parts, ok := x["allOf"].([]any); ok {
			x["unevaluatedProperties"] = false
			for i, part := range parts {
				if ref, isRef := part.(map[string]any)["$ref"].(string); isRef {
					parts[i] = map[string]any{"$ref": ref + "Open"}
				}
			}
			return
		}
		if schemas, ok := x["schemas"].(map[string]any); ok { // the parts of others stay open
			for _, name := range slices.Collect(maps.Keys(schemas)) {
				schemas[name+"Open"] = maps.Clone(schemas[name].(map[string]any))
			}
			for name, one := range schemas {
				if !strings.HasSuffix(name, "Open") {
					closed(one)
				}
			}
			return
		}
		if _, isObject := x["properties"].(map[string]any); isObject && x["additionalProperties"] == nil {
			x["additionalProperties"] = false
		}
		for _, one := range x {
			closed(one)
		}
	}
}

// misfit says where a value is not as the schema at a place of the document says;
// "" = it is.
func (d *document) misfit(v any, place ...string) string {
	for i, name := range place {
		place[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	d.mu.Lock()
	s, err := d.compiler.Compile("openapi.json#/" + strings.Join(place, "/"))
	d.mu.Unlock()
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// The schema is that of the OpenAPI Initiative, and each schema in the document
// is one of JSON Schema 2020-12.
func TestTheOpenAPIDocumentIsValid(t *testing.T) {
	file, err := os.Open("testdata/openapi-3.1-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	official, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("official.json", official); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MustCompile("official.json").Validate(value); err != nil {
		t.Error(err)
	}
	if err := c.AddResource("openapi.json", value); err != nil {
		t.Fatal(err)
	}
	for name := range theDocument().Components.Schemas {
		if _, err := c.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Error(err)
		}
	}
	value.(map[string]any)["path"] = map[string]any{} // it does find what is wrong
	if c.MustCompile("official.json").Validate(value) == nil {
		t.Error("a member that is none of OpenAPI is taken")
	}
}

func TestTheOpenAPIDocumentAndTheRoutesAreTheSameSet(t *testing.T) {
	doc := theDocument()
	if doc.OpenAPI != "3.1.1" {
		t.Errorf("version %q", doc.OpenAPI)
	}
	seen := map[string]bool{}
	d := serve(t, nil).Dashboard
	for _, r := range d.routes {
		if r.page {
			continue
		}
		op, ok := doc.Paths["/"+r.path][strings.ToLower(r.method)]
		seen[r.method+" /"+r.path] = true
		if !ok {
			t.Errorf("%s %s is not in openapi.json", r.method, r.path)
			continue
		}
		if op.Action != r.action || op.Summary == "" || op.OperationID == "" {
			t.Errorf("%s %s: %+v, and the route asks for %q", r.method, r.path, op, r.action)
		}
		var query, path []string
		for _, p := range op.Parameters {
			switch p.In {
			case "query":
				query = append(query, p.Name)
			case "path":
				path = append(path, "{"+p.Name+"}")
			}
		}
		want := slices.Clone(r.query)
		slices.Sort(want)
		slices.Sort(query)
		if !slices.Equal(query, want) {
			t.Errorf("%s %s: openapi.json has the parameters %v, the route %v", r.method, r.path, query, want)
		}
		for _, p := range path {
			if !slices.Contains(r.segments, p) {
				t.Errorf("%s %s has no %s", r.method, r.path, p)
			}
		}
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if !seen[strings.ToUpper(method)+" "+path] {
				t.Errorf("openapi.json has %s %s, which is not served", method, path)
			}
		}
	}
	var types []string
	for _, v := range doc.Components.Schemas["Problem"].Properties["type"].Enum {
		types = append(types, strings.TrimPrefix(fmt.Sprint(v), "urn:onceq:"))
	}
	for kind := range statuses {
		if !slices.Contains(types, kind) {
			t.Errorf("openapi.json has no problem %s", kind)
		}
	}
	if len(types) != len(statuses) {
		t.Errorf("%d problems in openapi.json, %d are answered", len(types), len(statuses))
	}
}
