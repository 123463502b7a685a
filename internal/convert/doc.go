// Package convert turns a Hugging Face checkpoint into a pack: it narrows
// matrices to the element types asked for, turns fc2 from rows into columns so
// that a neuron lies in one place, and sketches fc1. Of an expert it puts the
// matrices together. Models that need none of this it opens where they are.
//
// # Guarantees
//
//   - The buffers of a conversion are bounded by 16 MiB whatever the model's
//     size (rows of more than 1 MiB, which no published model has, aside).
//   - The pack appears under its name complete, or not at all; cancelling the
//     context ends the work within one piece of it.
//   - A weight that is NaN or infinite, or too large for the element type asked
//     for, is an error that names its tensor: it could only make garbage later.
//
// # Caveats
//
//   - fc2 is read in strips of columns, for which the page cache stands in as a
//     buffer: each layer's fc2 is read once in order, then by strips. Where not
//     even one layer's fc2 fits into free memory, strips come from the disk and
//     the conversion is slower.
//   - Experts stored as columns ([experts, columns, rows]) are read with up to 4
//     times what is wanted of them at a time, which comes on top of the buffers.
package convert
