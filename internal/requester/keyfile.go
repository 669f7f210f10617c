package requester

import (
	"errors"
	"fmt"
	"os"
)

// lookLocked reads the file again if it has changed since, at most once per lookEvery unless now is set. Files are
// replaced by renaming and, in Kubernetes, by moving a link, so the file's identity counts too.
func (k *keys) lookLocked(now bool) {
	t := k.now()
	if !now && !k.looked.IsZero() && t.Sub(k.looked) < lookEvery && t.After(k.looked) {
		return
	}
	k.looked = t
	info, err := os.Stat(k.path)
	if err == nil && k.err == nil && k.seen != nil && os.SameFile(info, k.seen) && info.ModTime().Equal(k.seen.ModTime()) && info.Size() == k.seen.Size() {
		k.set.at = t
		return
	}
	var set *keySet
	if err == nil {
		set, err = readKeyFile(k.path)
	}
	if err != nil {
		if k.err == nil {
			k.log.Warn("assertion keys not read", "error", err)
		}
		k.err = err
		return
	}
	set.at = t
	k.set, k.seen, k.err = set, info, nil
}

func readKeyFile(path string) (set *keySet, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open JWKS: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readKeys(f)
}
