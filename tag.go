package onceq

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shape is what the type of an args struct says about its members.
type shape struct {
	unique []string // JSON Pointers of the fields tagged `onceq:"unique"`
	err    error
}

var shapes sync.Map // reflect.Type → *shape

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// structFields narrows the args of a key: to the fields that were named, checked against the type, or else to the tagged ones.
func structFields(args Args, named []string) ([]string, error) {
	if _, raw := args.(rawArgs); raw {
		return named, nil
	}
	t := reflect.TypeOf(args)
	sh := shapeOf(t)
	if sh.err != nil {
		return nil, sh.err
	}
	if named == nil {
		return sh.unique, nil
	}
	for _, f := range named {
		if err := knownField(t, f); err != nil {
			return nil, err
		}
	}
	return named, nil
}

func shapeOf(t reflect.Type) *shape {
	if sh, ok := shapes.Load(t); ok {
		return sh.(*shape)
	}
	sh := &shape{}
	if st := deref(t); st.Kind() == reflect.Struct && !encodesItself(t) {
		sh.unique, sh.err = taggedFields(st, "", nil)
	}
	shapes.Store(t, sh)
	return sh
}

func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func encodesItself(t reflect.Type) bool {
	return t.Implements(marshaler) || t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(marshaler) || reflect.PointerTo(t).Implements(textMarshaler)
}

// taggedFields collects the pointers of tagged fields. A tagged field takes part whole, unless fields inside it are tagged.
func taggedFields(t reflect.Type, prefix string, within []reflect.Type) ([]string, error) {
	if slices.Contains(within, t) {
		return nil, nil // a type that contains itself: tags further down name no fixed place
	}
	within = append(within, t)
	var found []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("onceq")
		if tagged && tag != "unique" {
			return nil, invalid("tag", `onceq:"`+tag+`"`, `of field %s.%s must be onceq:"unique"`, t, f.Name)
		}
		name, inline, encoded := member(f)
		if !encoded {
			if tagged {
				return nil, invalid("tag", `onceq:"unique"`, `of field %s.%s selects nothing: the field is not encoded as JSON; export it, or drop the tag`, t, f.Name)
			}
			continue
		}
		at := prefix
		if !inline {
			at += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		}
		var inside []string
		if ft := deref(f.Type); ft.Kind() == reflect.Struct && !encodesItself(f.Type) {
			var err error
			if inside, err = taggedFields(ft, at, within); err != nil {
				return nil, err
			}
		}
		switch {
		case len(inside) > 0:
			found = append(found, inside...)
		case tagged && inline:
			ft := deref(f.Type)
			for j := range ft.NumField() {
				if name, inline, ok := member(ft.Field(j)); ok && !inline {
					found = append(found, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
				}
			}
			if len(found) == 0 {
				return nil, invalid("tag", `onceq:"unique"`, `of embedded field %s.%s selects nothing: it has no fields that are encoded`, t, f.Name)
			}
		case tagged:
			found = append(found, at)
		}
	}
	return found, nil
}

// member is how encoding/json names a struct field: inline for an embedded struct without a name of its own.
func member(f reflect.StructField) (name string, inline, encoded bool) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return "", false, false
	}
	name, _, _ = strings.Cut(tag, ",")
	if f.Anonymous && name == "" && deref(f.Type).Kind() == reflect.Struct {
		return "", true, true
	}
	if !f.IsExported() {
		return "", false, false
	}
	if name == "" {
		name = f.Name
	}
	return name, false, true
}

// knownField checks that a type can have the named member. It knows nothing against types that encode themselves, maps and interfaces.
func knownField(t reflect.Type, field string) error {
	tokens := []string{field}
	if strings.HasPrefix(field, "/") {
		tokens = strings.Split(field[1:], "/")
		for i, tok := range tokens {
			tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(tok)
		}
	}
	for _, tok := range tokens {
		if encodesItself(t) {
			return nil
		}
		switch t = deref(t); t.Kind() {
		case reflect.Struct:
			ft, names := fieldType(t, tok)
			if ft == nil {
				return invalid("Unique.Fields", field, "is no member of %s: it has %s", t, strings.Join(names, ", "))
			}
			t = ft
		case reflect.Map:
			t = t.Elem()
		case reflect.Slice, reflect.Array:
			if _, err := strconv.Atoi(tok); err != nil && tok != "-" {
				return invalid("Unique.Fields", field, "names %q in a list: use an index", tok)
			}
			t = t.Elem()
		case reflect.Interface:
			return nil
		default:
			return invalid("Unique.Fields", field, "goes into a %s, which has no members", t)
		}
	}
	return nil
}

func fieldType(t reflect.Type, name string) (reflect.Type, []string) {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		n, inline, encoded := member(f)
		switch {
		case !encoded:
		case inline:
			ft, inner := fieldType(deref(f.Type), name)
			if ft != nil {
				return ft, nil
			}
			names = append(names, inner...)
		case n == name:
			return f.Type, nil
		default:
			names = append(names, fmt.Sprintf("%q", n))
		}
	}
	return nil, names
}
