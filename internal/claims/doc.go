// Package claims holds the tests that span packages: what SECURITY.md claims of
// all backends, of everything that prints, and of the tests themselves.
package claims
