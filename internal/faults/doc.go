// Package faults proves by injected faults what package secure promises over
// real servers. It has tests only:
//
//   - the fault matrix, every fault x backend x profile, which writes
//     docs/faults.md (make faults);
//   - the soak, caches of several processes under faults every few seconds,
//     which writes docs/soak.md (make soak; 20 seconds of it in every go test);
//   - the bound of the in-process layer in bytes of the process.
package faults
