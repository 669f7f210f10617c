package audit_test

import (
	"testing"

	"countersign/internal/audit"
)

func BenchmarkRecord(b *testing.B) {
	e := oneOfEach()[2]
	b.Run("serial", func(b *testing.B) {
		j := open(b, audit.Options{Path: pathIn(b)})
		for b.Loop() {
			if err := j.Record(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		j := open(b, audit.Options{Path: pathIn(b)})
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := j.Record(b.Context(), e); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkAppend(b *testing.B) {
	e := oneOfEach()[2]
	j := open(b, audit.Options{Path: pathIn(b)})
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
