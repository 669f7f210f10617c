package vendors

import "strings"

// commonPrefix counts the segments that every path of a description starts with and that are no parameters.
func commonPrefix(d Description) int {
	var common []string
	for i, o := range d.Operations {
		segments := strings.Split(strings.Trim(o.Path, "/"), "/")
		if i == 0 {
			common = segments
		}
		n := 0
		for n < len(common) && n < len(segments)-1 && common[n] == segments[n] && !strings.Contains(segments[n], "{") {
			n++
		}
		common = common[:n]
	}
	return len(common)
}

// group is where a table shows an operation: below what all paths have in common, two names and the parameters between them.
// Names with dots, as Slack's, are grouped by what stands before the last one.
func (s *survey) group(o Operation) string {
	if s.service != "" {
		return s.service
	}
	return s.prefix(strings.Split(strings.Trim(o.Path, "/"), "/"))
}

func (s *survey) prefix(segments []string) string {
	if s.service != "" {
		return s.service
	}
	names, end := 0, 0
	for i, seg := range segments {
		if i >= s.common && !strings.HasPrefix(seg, "{") && !strings.HasPrefix(seg, "*") {
			if names++; names > 2 {
				break
			}
		}
		if !strings.HasPrefix(seg, "{") {
			end = i + 1
		}
	}
	out := "/" + strings.Join(segments[:end], "/")
	last := strings.LastIndex(out, "/")
	if dot := strings.LastIndex(out, "."); dot > last+1 && names == 1 {
		return out[:dot] + ".*"
	}
	return out
}

// head is the start of a path by which an entry is told to lie where the description speaks of: the service of AWS, what
// all paths have in common, the first name otherwise.
func (s *survey) head(segments []string) string {
	n := min(s.depth(), len(segments))
	return strings.ToLower(strings.Join(segments[:n], "/"))
}

func (s *survey) depth() int {
	switch {
	case s.service == "s3":
		return 1
	case s.service != "":
		return 2
	case s.d.Format == GoogleDiscovery:
		return max(1, s.common)
	default:
		return 1
	}
}

// entryHead is the head of an entry's path. A path that starts with parameters speaks of any place and of none.
func (s *survey) entryHead(pattern string) (string, bool) {
	segments := strings.Split(strings.Trim(pattern, "/"), "/")
	n := s.depth()
	if len(segments) < n {
		return "", false
	}
	for i, seg := range segments[:n] {
		if as, text, fixed := strings.Cut(strings.Trim(seg, "{}"), "="); fixed && as != "" && strings.HasPrefix(seg, "{") {
			segments[i] = text // {user=me} is a name
			continue
		}
		if strings.ContainsAny(seg, "{}*") {
			return "", false
		}
	}
	return strings.ToLower(strings.Join(segments[:n], "/")), true
}
