package testenv

import (
	"net"
	"time"
)

// fault is how a proxy misbehaves; the zero value passes everything.
type fault struct {
	held [2]bool
	// grace is what each connection may pass all the same.
	grace [2]int
	// drip is the pause after each byte, in both directions.
	drip time.Duration
	// cut resets a connection in place of holding it.
	cut bool
}

// midway lets less pass than the shortest request or reply of any protocol here.
const midway = 3

// Stall lets no byte pass in either direction.
func (p *FaultProxy) Stall() { p.set(fault{held: [2]bool{true, true}}) }

// StallReplies lets requests reach the server but holds back its answers.
func (p *FaultProxy) StallReplies() { p.set(fault{held: [2]bool{toClient: true}}) }

// StallMidRequest lets the first three bytes of what each connection sends from
// now on reach the server, and no more.
func (p *FaultProxy) StallMidRequest() {
	p.set(fault{held: [2]bool{toServer: true}, grace: [2]int{toServer: midway}})
}

// StallMidReply does the same to what the server answers.
func (p *FaultProxy) StallMidReply() {
	p.set(fault{held: [2]bool{toClient: true}, grace: [2]int{toClient: midway}})
}

// ResetMidReply resets each connection after the first three bytes that the
// server answers on it from now on.
func (p *FaultProxy) ResetMidReply() {
	p.set(fault{held: [2]bool{toClient: true}, grace: [2]int{toClient: midway}, cut: true})
}

// Drip lets one byte pass in each direction of each connection after each
// pause.
func (p *FaultProxy) Drip(pause time.Duration) { p.set(fault{drip: pause}) }

// Resume lets bytes pass again, those that were held back first. It does not
// bring back what HalfOpen and Kill took away.
func (p *FaultProxy) Resume() { p.set(fault{}) }

func (p *FaultProxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	for l := range p.links {
		l.grace = f.grace
	}
	p.change.Broadcast()
}

// HalfOpen ends the server's side of every open connection and does not tell the
// clients, whose bytes go nowhere from then on. New connections work.
func (p *FaultProxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.lost = true
		abort(l.server)
	}
}

// Revive accepts connections again after Kill, on the same port.
func (p *FaultProxy) Revive() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatalf("the proxy cannot listen again: %v", err)
	}
	p.mu.Lock()
	p.listen = l
	p.mu.Unlock()
	p.wg.Add(1)
	go p.accept(l)
}

// Forget stops recording what passes, for tests that move much.
func (p *FaultProxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget, p.recorded = true, [2][]byte{}
}

func (p *FaultProxy) isLost(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.lost
}

// pass waits until some of n bytes, or an end if n is 0, may pass, and returns
// how many. It reports whether they could at once.
func (p *FaultProxy) pass(l *link, direction, n int) (may int, atOnce bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for atOnce = true; ; atOnce = false {
		switch f := &p.fault; {
		case p.closed || l.lost:
			return n, atOnce
		case f.drip > 0 && n > 0:
			p.sleep(f.drip)
			return 1, false
		case !f.held[direction]:
			return n, atOnce
		case l.grace[direction] > 0 && n > 0:
			may = min(n, l.grace[direction])
			l.grace[direction] -= may
			return may, atOnce
		case f.cut:
			abort(l.client)
			abort(l.server)
			return n, atOnce
		}
		p.change.Wait()
	}
}

// sleep waits for d or until the fault changes. It is called with p.mu held.
func (p *FaultProxy) sleep(d time.Duration) {
	over := false
	timer := time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		over = true
		p.change.Broadcast()
	})
	defer timer.Stop()
	for !over && p.fault.drip == d && !p.closed {
		p.change.Wait()
	}
}
