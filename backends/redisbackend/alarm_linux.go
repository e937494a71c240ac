package redisbackend

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings some time after it was last set. While one of Go's timers is about to
// end, each wait for the network has the kernel set the clock of the processor, and
// wakes up for nothing if the timer was put off: 1 µs and more for each write of a
// caller who reads. The kernel's own timer has neither (timerfd_create(2)).
type alarm struct {
	rang chan struct{}
	file *os.File
	raw  syscall.RawConn
	over chan struct{}
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	a := &alarm{rang: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "timer"), over: make(chan struct{})}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		_ = a.file.Close()
		return nil, err
	}
	go a.listen()
	return a, nil
}

// listen passes the rings on.
func (a *alarm) listen() {
	defer close(a.over)
	var times [8]byte
	for {
		if _, err := a.file.Read(times[:]); err != nil {
			return
		}
		select {
		case a.rang <- struct{}{}:
		default:
		}
	}
}

// set has the alarm ring after d, or never if that is 0. A ring that is on its way
// may come all the same.
func (a *alarm) set(d time.Duration) {
	select {
	case <-a.rang:
	default:
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = a.raw.Control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
}

// close silences the alarm for good.
func (a *alarm) close() {
	_ = a.file.Close()
	<-a.over
}
