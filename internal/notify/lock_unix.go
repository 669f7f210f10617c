//go:build unix

package notify

import (
	"os"
	"syscall"
)

// lockFile takes the spool for this process; the kernel lets go of it when the process ends, however it ends.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// syncDir makes new names in a folder durable.
func syncDir(name string) (err error) {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	return d.Sync()
}
