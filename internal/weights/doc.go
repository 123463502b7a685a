// Package weights moves neurons between the pack file and fast memory.
//
//   - DiskWeightStore reads bundles and rows from the pack and checks what it
//     reads against the pack's checksums the first time.
//   - WeightCache says which neuron is in which slot: a table from neuron to
//     slot per layer, pins for what is in use, and an EvictionPolicy that
//     picks who gives way. It never touches bytes.
//   - AsyncWeightTransfer reads into slots beside the computation, by the
//     requests of an AsyncFile: io_uring where the kernel has it, a few threads
//     elsewhere, a simulated disk for measuring.
//   - BlockReader streams matrices that do not fit, block after block.
//   - Memory is what all of these place their bytes in: outside the Go heap,
//     so that the collector neither scans nor moves it.
//
// The cache belongs to one goroutine. Stores and transfers may be used by
// several.
package weights
