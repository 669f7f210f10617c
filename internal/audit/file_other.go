//go:build !unix

package audit

import (
	"errors"
	"fmt"
	"os"
)

// lock refuses: without a lock that ends with the process, two sidecars could write one journal.
func lock(*os.File) error { return fmt.Errorf("file locks on this system: %w", errors.ErrUnsupported) }

func linked(os.FileInfo) bool { return true }
