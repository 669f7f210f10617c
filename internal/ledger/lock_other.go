//go:build !unix

package ledger

import (
	"errors"
	"fmt"
	"os"
)

// lock refuses: without a lock that ends with the process, two sidecars could write one folder.
func lock(*os.File) error { return fmt.Errorf("file locks on this system: %w", errors.ErrUnsupported) }
