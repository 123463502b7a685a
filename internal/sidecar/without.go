package sidecar

import "maps"

// Without returns a copy of the sidecar that lacks the section called name.
func (s *Sidecar) Without(name string) *Sidecar {
	next := &Sidecar{source: s.source, sections: maps.Clone(s.sections)}
	delete(next.sections, name)
	return next
}
