// Package guard is the network posture of the backends that speak HTTP: where
// they may connect to, and how one call behaves.
//
// [Rules] say which URLs and addresses are allowed. They are applied twice: to
// the text of a URL, in every spelling of an address that some resolver would
// take ([Rules.Parse]), and to the address that a connection really goes to,
// after DNS ([Rules.CheckAddr], called by the dialer of [Transport]).
//
// A [Transport] talks to one origin. It follows no redirect, uses no proxy but
// one that it is given, takes TLS 1.2 or later, bounds headers and bodies before
// it allocates for them, and speaks HTTP/2 over one connection that all calls
// share, or HTTP/1.1 where the server knows no better. Pings notice a dead
// connection.
//
// # Contexts and abandoned writes
//
// [Transport.Do] returns within 100 ms of the end of its context, and reads
// nothing of the request's body after that.
//
// A write that is given up must not land later over a newer one. Resetting its
// stream is not enough: the kernel goes on sending what it has buffered for
// minutes, and a server executes the request before it reads the reset behind
// it. So the connection itself is reset (SO_LINGER 0), which makes the kernel
// forget what the server's host has not received: always on HTTP/1.1, and on
// HTTP/2 unless a ping, sent after the request, is answered within 40 ms. The
// answer to the ping proves that the server process has read the request, so
// nothing of it is under way, and the other calls of the connection go on. A
// reset ends these; reads among them are sent once more.
//
// What the server process has read cannot be recalled: it may execute a write
// when it gets to it, also if that is after a newer one. The same goes for bytes
// that lie in the socket buffer of a stopped server process, which Linux hands it
// even after a reset. HTTP has no order between requests that could settle this.
package guard
