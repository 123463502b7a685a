// Package sidecar keeps what is learned about a model after it was packed: its
// activation profile, trained predictors, calibration, the choice of auto.
//
// # Model
//
// A [Sidecar] is a set of named sections, each a JSON value and named tensors.
// What they mean is known to their writers alone. It belongs to the weights,
// not to one pack of them: it names the SHA-256 of the checkpoint, and its
// users number neurons as the checkpoint does. So it outlives re-ordering and
// re-quantising a pack, and a sidecar of other weights is never taken for one
// of these ([MismatchError]).
//
// A Sidecar never changes: [Sidecar.With] returns another one.
//
// # File
//
// The file is F.sflow.side beside the pack F.sflow, or in the cache directory,
// called by the checkpoint's hash, where the pack's directory cannot be written
// to ([PathFor]). [Lookup] reads both. It is a valid safetensors file
// (https://huggingface.co/docs/safetensors, "Format") with the metadata
//
//	sparseflow.sidecar.version   "1"
//	sparseflow.source_sha256     64 hexadecimal digits
//	section.<section>            the section's JSON
//
// and the tensors, little-endian and row-major,
//
//	<section>/<tensor>   F32, U32, F16 or U8: larger elements first, then by
//	                     name, so that each is aligned to its elements
//	pad                  U8, 1 to 3 zeros that align crc, where needed
//	crc                  U32 [1]: the CRC-32C (Castagnoli, RFC 3720 appendix
//	                     B.4) of every byte of the file before it
//
// # Guarantees
//
//   - The same sections give the same bytes, and a file that is not byte for
//     byte what this package would write for its contents is refused. So every
//     damaged byte is found when the file is opened.
//   - A file appears under its name complete and synced, in place of the one
//     before it ([Update]). A writer killed at any moment leaves the old
//     one as it was.
//   - [Update] loses no other process's sections.
//   - Any bad file gives an error that names it; nothing is allocated by a size
//     that was not compared with the file's and with [MaxBytes].
//
// # Caveats
//
//   - Everything is in memory from Open on: a few percent of a model's size
//     where it has trained predictors.
//   - All JSON together, with the names, fits the 100 MB that safetensors
//     allows for a header. Larger things are tensors.
//   - Where files cannot be locked (Windows, some network file systems) two
//     writers at once are safe, but the last one's sections win, and a killed
//     one may leave a file *.tmp.
//   - CRCs find accidents. They do not stop somebody who means harm.
package sidecar
