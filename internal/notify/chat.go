package notify

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// object is a JSON object whose members are written in the order of their names.
type object = map[string]any

// slackEscape is what Slack asks for in every text: without it <!channel>, <@user> and <url|text> are commands.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

const (
	slackHeader = 150  // characters of a header
	slackField  = 2000 // of a field
	slackText   = 3000
)

// slackMessage is a message for an incoming webhook. Values stand in plain_text, where Slack reads no mark-up at all; only
// our own labels and the link to a page of ours are mrkdwn.
func slackMessage(e Event) object {
	title := headline(e)
	blocks := []object{{"type": "header", "text": slackPlain(title, slackHeader)}}
	var fields []object
	flush := func() {
		if len(fields) > 0 {
			blocks = append(blocks, object{"type": "section", "fields": fields})
			fields = nil
		}
	}
	rows := rowsOf(e)
	if e.Code != "" {
		rows = append(rows, row{"Code to enter on the phone", e.Code})
	}
	for _, r := range rows {
		if len(fields) == 10 { // what a section takes
			flush()
		}
		fields = append(fields, object{"type": "mrkdwn", "text": "*" + r.Label + "*"}, slackPlain(r.Value, slackField))
	}
	flush()
	if e.URL != "" {
		blocks = append(blocks, object{"type": "section", "text": object{
			"type": "mrkdwn", "verbatim": true, "text": "<" + slackLink(e.URL) + "|Page where the requester answers>",
		}})
	}
	if e.Advice != "" {
		blocks = append(blocks,
			object{"type": "section", "text": object{"type": "mrkdwn", "text": "*What to do*"}},
			object{"type": "section", "text": slackPlain(e.Advice, slackText)})
	}
	text := title
	if e.Ticket != "" {
		text += " (ticket " + e.Ticket + ")"
	}
	return object{
		"text": slackEscape(text), "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks,
	}
}

func slackPlain(s string, limit int) object {
	return object{"type": "plain_text", "emoji": false, "text": slackCut(s, limit)}
}

// slackCut escapes s and keeps the result within limit, without cutting an escape.
func slackCut(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		next := slackEscape(string(r))
		size := utf8.RuneCountInString(next)
		if n+size > limit-1 {
			b.WriteRune('…')
			break
		}
		b.WriteString(next)
		n += size
	}
	return b.String()
}

// slackLink escapes what would end the address within <address|text>.
func slackLink(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(u.String())
}

// teamsMessage is a message with an Adaptive Card, as the Workflows webhook takes it. Values stand in TextRuns, which have
// no Markdown; the spaces take {{DATE()}} and ${} apart.
func teamsMessage(e Event) object {
	body := []object{teamsText(object{"type": "TextRun", "text": teamsEscape(headline(e)), "weight": "Bolder", "size": "Medium"})}
	rows := rowsOf(e)
	if e.Code != "" {
		rows = append(rows, row{"Code to enter on the phone", e.Code})
	}
	if e.Advice != "" {
		rows = append(rows, row{"What to do", e.Advice})
	}
	for _, r := range rows {
		body = append(body, teamsText(
			object{"type": "TextRun", "text": r.Label + ": ", "weight": "Bolder"},
			object{"type": "TextRun", "text": teamsEscape(r.Value)},
		))
	}
	card := object{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"fallbackText": teamsEscape(headline(e)), "msteams": object{"width": "Full"}, "body": body,
	}
	if e.URL != "" {
		card["actions"] = []object{{"type": "Action.OpenUrl", "title": "Page where the requester answers", "url": e.URL}}
	}
	return object{"type": "message", "attachments": []object{{
		"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card,
	}}}
}

func teamsText(runs ...object) object { return object{"type": "RichTextBlock", "inlines": runs} }

func teamsEscape(s string) string {
	return strings.NewReplacer("{{", "{ {", "${", "$ {").Replace(s)
}
