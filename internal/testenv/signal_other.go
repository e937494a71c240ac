//go:build !unix

package testenv

import "os"

var sigStop, sigCont os.Signal
