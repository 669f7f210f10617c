package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts drive the real command line, each in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersign": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true})
}
