package dashboard

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
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
				Schema schema `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]struct {
			Content map[string]struct {
				Schema schema `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

// schema is what openapi.json uses of JSON Schema.
type schema struct {
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Properties  map[string]schema `json:"properties"`
	Required    []string          `json:"required"`
	Items       *schema           `json:"items"`
	Enum        []any             `json:"enum"`
	AnyOf       []schema          `json:"anyOf"`
	AllOf       []schema          `json:"allOf"`
	Additional  json.RawMessage   `json:"additionalProperties"`
	Pattern     string            `json:"pattern"`
	Format      string            `json:"format"`
	Description string            `json:"description"`
	Minimum     *float64          `json:"minimum"`
	Maximum     *float64          `json:"maximum"`
	MaxLength   *int              `json:"maxLength"`
}

var theDocument = sync.OnceValue(func() *document {
	d := json.NewDecoder(strings.NewReader(string(openAPI)))
	var doc document
	if err := d.Decode(&doc); err != nil {
		panic(err)
	}
	return &doc
})

// merged is a schema with its reference followed, and with the members of those
// that it is made of.
func (d *document) merged(s schema) schema {
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		found, ok := d.Components.Schemas[name]
		if !ok {
			panic("openapi.json has no schema " + name)
		}
		return d.merged(found)
	}
	for _, part := range s.AllOf {
		part = d.merged(part)
		if s.Properties == nil {
			s.Properties = map[string]schema{}
		}
		for name, p := range part.Properties {
			s.Properties[name] = p
		}
		s.Type, s.Required = part.Type, append(s.Required, part.Required...)
	}
	s.AllOf = nil
	return s
}

// misfit says where a value is not as a schema says; "" = it is. A member that
// is not in the document is a misfit, although readers are to ignore it.
func (d *document) misfit(s schema, v any, at string) string {
	s = d.merged(s)
	if s.AnyOf != nil {
		var all []string
		for _, one := range s.AnyOf {
			m := d.misfit(one, v, at)
			if m == "" {
				return ""
			}
			all = append(all, m)
		}
		return strings.Join(all, ", and ")
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Sprintf("%s: %v is not of %v", at, v, s.Enum)
	}
	switch x := v.(type) {
	case map[string]any:
		return d.misfitObject(s, x, at)
	case []any:
		if s.Type != "array" && s.Type != "" {
			return fmt.Sprintf("%s: a list, not %s", at, s.Type)
		}
		for i, one := range x {
			if s.Items != nil {
				if m := d.misfit(*s.Items, one, fmt.Sprintf("%s/%d", at, i)); m != "" {
					return m
				}
			}
		}
		return ""
	case string:
		if s.Type != "string" && s.Type != "" {
			return fmt.Sprintf("%s: a string, not %s", at, s.Type)
		}
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(x) {
			return fmt.Sprintf("%s: %q does not match %s", at, x, s.Pattern)
		}
		if s.Format == "date-time" && !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`).
			MatchString(x) {
			return fmt.Sprintf("%s: %q is no instant", at, x)
		}
		return ""
	case nil:
		if s.Type != "null" && s.Type != "" {
			return fmt.Sprintf("%s: null, not %s", at, s.Type)
		}
	case bool:
		if s.Type != "boolean" && s.Type != "" {
			return fmt.Sprintf("%s: %v, not %s", at, v, s.Type)
		}
	case float64:
		if s.Type != "integer" && s.Type != "" || s.Type == "integer" && x != float64(int64(x)) {
			return fmt.Sprintf("%s: %v, not %s", at, v, s.Type)
		}
		if s.Minimum != nil && x < *s.Minimum || s.Maximum != nil && x > *s.Maximum {
			return fmt.Sprintf("%s: %v is out of range", at, v)
		}
	}
	return ""
}

func (d *document) misfitObject(s schema, v map[string]any, at string) string {
	if s.Type == "" && s.Properties == nil {
		return ""
	}
	if s.Type != "object" {
		return fmt.Sprintf("%s: an object, not %s", at, s.Type)
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Sprintf("%s: no member %s", at, name)
		}
	}
	var other schema
	open := string(s.Additional) == "true" || json.Unmarshal(s.Additional, &other) == nil &&
		string(s.Additional) != "false"
	for name, one := range v {
		p, known := s.Properties[name]
		switch {
		case known:
			if m := d.misfit(p, one, at+"/"+name); m != "" {
				return m
			}
		case !open:
			return fmt.Sprintf("%s: member %s is not in openapi.json", at, name)
		case string(s.Additional) != "true":
			if m := d.misfit(other, one, at+"/"+name); m != "" {
				return m
			}
		}
	}
	return ""
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
