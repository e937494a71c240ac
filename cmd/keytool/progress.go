package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/rekey"
)

// progress shows how far a walk is: on a terminal by one line that is written
// over, elsewhere by a line every ten seconds. The number of entries is not
// known beforehand, so there is no percentage. NO_COLOR and a dumb terminal get
// plain lines too.
type progress struct {
	out     io.Writer // nil shows nothing
	tty     bool
	started time.Time
	shown   time.Time
}

const (
	progressTTY   = 200 * time.Millisecond
	progressPlain = 10 * time.Second
)

func (a *app) progress() *progress {
	p := &progress{out: a.errs, started: time.Now(), shown: time.Now()}
	if f, ok := a.errs.(*os.File); ok {
		p.tty = terminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if a.quiet || a.json {
		p.out = nil
	}
	return p
}

// show is called after every page.
func (p *progress) show(r rekey.Report) {
	every := progressPlain
	if p.tty {
		every = progressTTY
	}
	if p.out == nil || time.Since(p.shown) < every {
		return
	}
	p.shown = time.Now()
	rate := float64(r.Seen) / time.Since(p.started).Seconds()
	line := fmt.Sprintf("%d entries, %d under an old key, %d re-sealed, %.0f/s", r.Seen, r.Old(), r.Resealed, rate)
	if p.tty {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintf(p.out, "keytool: %s, cursor %q\n", line, r.Cursor)
}

// end clears the line.
func (p *progress) end() {
	if p.out != nil && p.tty {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
