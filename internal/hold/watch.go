package hold

import (
	"cmp"
	"context"
	"iter"
	"slices"
)

// Change is a hold as the ledger had it at a revision. Revisions grow over all holds and replicas, as far as the ledger's do.
type Change struct {
	Record Record
	Rev    uint64
}

// Watch yields the holds that are in the ledger, by revision, then a zero Change as a mark, and then every change of one, on
// whichever replica it was made, until ctx ends or the ledger breaks off, which is the last thing yielded. A slow reader may
// miss a state that was passed through, never the last one.
func (d *Desk) Watch(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		var there []Change
		live := false
		for e, err := range d.o.Ledger.Watch(ctx, holdPrefix) {
			switch {
			case err != nil:
				yield(Change{}, ledgerError(err))
				return
			case e.Key == "":
				live = true
				slices.SortFunc(there, func(a, b Change) int { return cmp.Compare(a.Rev, b.Rev) })
				for _, c := range there {
					if !yield(c, nil) {
						return
					}
				}
				there = nil
				if !yield(Change{}, nil) {
					return
				}
			default:
				r, err := decode(e)
				if err != nil || r.State == Unopened {
					continue // removed, or not readable: that is told where it matters
				}
				if c := (Change{r, e.Rev}); live {
					if !yield(c, nil) {
						return
					}
				} else {
					there = append(there, c)
				}
			}
		}
	}
}
