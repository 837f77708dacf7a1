package onceq

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// isNil reports whether an interface has no value, or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

func optionsOfType(args EnqueueOptioner) (opts []Option, err error) {
	defer recovered(&err, "args", args, "their EnqueueOptions")
	return args.EnqueueOptions(), nil
}

func kindOf(args Args) (kind string, err error) {
	defer recovered(&err, "args", args, "their Kind")
	if isNil(args) {
		return "", invalid("args", fmt.Sprintf("%T", args), "must not be nil")
	}
	kind = args.Kind()
	return kind, nil
}

func encodeArgs(args Args) (raw []byte, encoding string, err error) {
	if a, ok := args.(rawArgs); ok {
		return a.raw, a.encoding, nil
	}
	defer recovered(&err, "args", args, "their encoding as JSON")
	raw, err = json.Marshal(args)
	if err != nil {
		return nil, "", invalid("args", fmt.Sprintf("%T", args), "must be encodable as JSON: %v", err)
	}
	// encoding/json writes this escape only for invalid UTF-8, and
	// different bytes would become equal.
	if bytes.Contains(raw, []byte(`\ufffd`)) {
		if place := badUTF8(reflect.ValueOf(args), ""); place != "" {
			return nil, "", invalid("args", place, "must be valid UTF-8 text; use []byte for other data")
		}
	}
	return raw, EncodingJSON, nil
}

// badUTF8 finds an encoded string that is not valid UTF-8. It goes where
// encoding/json went, and so comes to an end.
func badUTF8(v reflect.Value, path string) string {
	if !v.IsValid() || encoderOf(v.Type()) || v.CanAddr() && encoderOf(reflect.PointerTo(v.Type())) {
		return ""
	}
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return cmp.Or(path, "/")
		}
	case reflect.Pointer, reflect.Interface:
		return badUTF8(v.Elem(), path)
	case reflect.Struct:
		members, _ := membersOf(v.Type())
		for _, m := range members {
			f, err := v.FieldByIndexErr(m.index)
			if err != nil {
				continue // a field of an embedded pointer that is nil
			}
			if place := badUTF8(f, path+"/"+m.name); place != "" {
				return place
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return ""
		}
		for i := range v.Len() {
			if place := badUTF8(v.Index(i), fmt.Sprintf("%s/%d", path, i)); place != "" {
				return place
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if place := badUTF8(k, path); place != "" {
				return place
			}
			if place := badUTF8(v.MapIndex(k), fmt.Sprintf("%s/%v", path, k)); place != "" {
				return place
			}
		}
	}
	return ""
}
