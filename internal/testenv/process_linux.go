package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// paused reports whether every thread is in state T (proc_pid_stat(5): the
// state follows the name in parentheses).
func paused(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(dir + "/" + task.Name() + "/stat")
		if err != nil {
			continue
		}
		text := string(stat)
		if i := strings.LastIndexByte(text, ')'); i < 0 || !strings.HasPrefix(text[i:], ") T") {
			return false
		}
	}
	return true
}
