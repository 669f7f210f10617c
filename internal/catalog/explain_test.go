package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

func TestTheEntryBehindANameIsTold(t *testing.T) {
	a := byHost(t, graphHost)
	call := catalog.Call{
		Method: "POST", Segments: []string{"v1.0", "roleManagement", "directory", "roleAssignments"},
		Body: object{"principalId": "1"}, BodyKind: "json",
	}
	got := a.Explain(call, "role.assignment.create")
	if len(got) != 1 || !got[0].Certain || got[0].Path != "/roleManagement/directory/roleAssignments" || got[0].Method != "POST" ||
		got[0].File == "" || got[0].Source == "" {
		t.Errorf("Explain = %+v", got)
	}
}

func TestEntriesAreToldAsUncertainWhereTheCallDoesNotLeadToThem(t *testing.T) {
	a := byHost(t, graphHost)
	got := a.Explain(catalog.Call{Method: "GET", Segments: []string{"users"}}, "role.assignment.create")
	if len(got) < 2 {
		t.Fatalf("Explain = %+v, want every entry of the name", got)
	}
	for _, e := range got {
		if e.Certain || e.Name != "role.assignment.create" {
			t.Errorf("Explain = %+v", e)
		}
	}
	if got := a.Explain(catalog.Call{Method: "GET", Segments: []string{"users"}}, "no.such"); len(got) != 0 {
		t.Errorf("Explain of an unknown name = %+v", got)
	}
}
