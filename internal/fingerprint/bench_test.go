package fingerprint

import (
	"fmt"
	"strings"
	"testing"
)

var benchInput = job(
	`{"repo":42,"branch":"main","paths":["a.go","b.go"],"force":false,"since":"2024-05-01T00:00:00Z","n":1.5}`)

var benchFields = benchInput.with(func(in *Input) { in.Fields = []string{"repo", "/paths/0"} })

func BenchmarkSum100(b *testing.B) { benchmarkSum(b, benchInput) }

func BenchmarkSumFields(b *testing.B) { benchmarkSum(b, benchFields) }

func BenchmarkSum10KB(b *testing.B) {
	var items []string
	for i := range 100 {
		items = append(items, fmt.Sprintf(
			`{"sku":"item-%d","price":%d.%02d,"tags":["new","sale"],"qty":%d,"note":"left of the door"}`,
			i, i*7, i, i%5))
	}
	benchmarkSum(b, job(`{"order":1,"items":[`+strings.Join(items, ",")+`]}`))
}

func benchmarkSum(b *testing.B, in Input) {
	b.ReportAllocs()
	b.SetBytes(int64(len(in.Args)))
	for b.Loop() {
		if _, err := Sum(in); err != nil {
			b.Fatal(err)
		}
	}
}
