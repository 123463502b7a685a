// Package disk moves weights from the pack file to fast memory.
//
//   - DiskWeightStore reads bundles and rows from the pack and checks what it
//     reads against the pack's checksums the first time.
//   - AsyncWeightTransfer reads into slots beside the computation, by the
//     requests of an AsyncFile: io_uring where the kernel has it, a few threads
//     elsewhere, a simulated disk for measuring.
//   - BlockReader streams matrices that do not fit, block after block.
//
// Stores and transfers may be used by several goroutines.
package disk
