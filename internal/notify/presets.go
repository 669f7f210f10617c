package notify

import (
	"html"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// preset writes a note on a ticket of one ticket system, in the shape that its API documents. docs/notifications.md says
// what of it has been tried.
type preset struct {
	method  string
	inPath  bool           // the ticket stands in the URL
	example string         // of the URL
	ticket  *regexp.Regexp // ids that the system's API takes
	escape  func(string) string
	body    func(e Event, text string, public bool) any
}

func (p *preset) note(e Event, public bool) any {
	if public {
		return p.body(e, p.escape(employeeText(e)), true)
	}
	return p.body(e, noteText(e, p.escape), false)
}

var (
	number  = regexp.MustCompile(`^[0-9]{1,18}$`)
	hexID   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	jiraKey = regexp.MustCompile(`^(?:[A-Z][A-Z0-9_]{1,50}-)?[0-9]{1,18}$`)
)

// presets are the ticket systems by name.
var presets = map[string]*preset{
	"servicenow": {
		method: http.MethodPatch, inPath: true, ticket: hexID,
		example: "https://acme.service-now.com/api/now/table/incident/{ticket}",
		// A journal field renders what stands between [code] and [/code] as HTML.
		escape: strings.NewReplacer("[", "(", "]", ")").Replace,
		body: func(_ Event, text string, public bool) any {
			if public {
				return object{"comments": text}
			}
			return object{"work_notes": text}
		},
	},
	"jira_service_management": {
		method: http.MethodPost, inPath: true, ticket: jiraKey,
		example: "https://acme.atlassian.net/rest/servicedeskapi/request/{ticket}/comment",
		// Wiki mark-up: macros, links with a text of their own, mentions and images.
		escape: strings.NewReplacer(`\`, `\\`, "{", `\{`, "[", `\[`, "!", `\!`, "|", `\|`).Replace,
		body: func(_ Event, text string, public bool) any {
			return object{"body": text, "public": public}
		},
	},
	"zendesk": {
		method: http.MethodPut, inPath: true, ticket: number,
		example: "https://acme.zendesk.com/api/v2/tickets/{ticket}.json",
		// Placeholders and Liquid are filled in comments too; Markdown links hide where they lead.
		escape: strings.NewReplacer("{{", "{ {", "{%", "{ %", "](", "] (").Replace,
		body: func(_ Event, text string, public bool) any {
			return object{"ticket": object{"comment": object{"body": text, "public": public}}}
		},
	},
	"halopsa": {
		method: http.MethodPost, ticket: number,
		example: "https://acme.halopsa.com/api/actions",
		escape:  html.EscapeString,
		body: func(e Event, text string, public bool) any {
			// The API takes a list of actions.
			return []object{{
				"ticket_id": numeric(e.Ticket), "outcome": "Countersign", "hiddenfromuser": !public,
				"note_html": strings.ReplaceAll(text, "\n", "<br>"), "sendemail": false,
			}}
		},
	},
	"connectwise": {
		method: http.MethodPost, inPath: true, ticket: number,
		example: "https://api-na.myconnectwise.net/v4_6_release/apis/3.0/service/tickets/{ticket}/notes",
		escape:  strings.NewReplacer("](", "] (", "<", "&lt;").Replace,
		body: func(_ Event, text string, public bool) any {
			return object{"text": text, "internalAnalysisFlag": !public, "detailDescriptionFlag": public, "resolutionFlag": false}
		},
	},
	"autotask": {
		method: http.MethodPost, inPath: true, ticket: number,
		example: "https://webservices5.autotask.net/atservicesrest/v1.0/Tickets/{ticket}/Notes",
		escape:  plain,
		body: func(e Event, text string, public bool) any {
			publish := 2 // internal
			title := "Countersign: " + headline(e)
			if public {
				publish, title = 1, "Verification of your request" // all users
			}
			return object{"title": shorten(title, 250), "description": text, "noteType": 3, "publish": publish}
		},
	},
}

// numeric is a JSON number for ids that are one; unfit has sorted out the others.
func numeric(s string) any {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return s
	}
	return n
}

// Templates lists the ticket systems that a webhook sink can write notes for.
func Templates() []string { return slices.Sorted(maps.Keys(presets)) }

func shorten(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}
