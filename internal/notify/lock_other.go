//go:build !unix

package notify

import "os"

// lockFile does nothing: there is no lock to take, so one spool for two processes goes unnoticed and events are told twice.
func lockFile(*os.File) error { return nil }

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
