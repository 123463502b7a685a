// Package source reads the weights of a Hugging Face model directory or of a
// GGUF file in place: opening one reads headers only, and a tensor is then read at any
// offset straight from its file, so that a checkpoint far larger than memory
// can be converted piece by piece.
//
// # Formats
//
// [Open] takes the first of these that the directory holds, in the order that
// the transformers library has:
//
//   - model.safetensors
//   - model.safetensors.index.json and the shards it names
//   - model-00001-of-0000N.safetensors and so on, all of a set without an index
//   - the same for pytorch_model.bin
//
// [OpenGGUF] opens GGUF files, which package gguf describes, by a name of
// their own.
//
// A safetensors file is an 8-byte little-endian header length, a JSON header
// and one byte buffer that the tensors tile without holes
// (https://huggingface.co/docs/safetensors, "Format"). [ParseSafetensors] and
// [BuildHeader] are that header's reader and writer, for any container made
// of it.
//
// A .bin file is what torch.save has written since PyTorch 1.6: a zip archive
// with uncompressed entries, of which <archive>/data.pkl is a pickle (protocol
// 2 to 5) of a dict from names to tensors, and <archive>/data/<key> the bytes
// of one storage. A tensor is an element offset, a shape and strides over a
// storage; tied tensors share one. The legacy format before 1.6 is five pickles
// and then the storages.
//
// # Guarantees
//
//   - A pickle is a program that can call anything; nothing is called here.
//     Classes are names of a short list, what torch.load(weights_only=True)
//     allows; any other is an error that names the class and the file.
//   - Bad input of any kind gives an error that names the file, what was found
//     and what was expected. Nothing is allocated by a size that the file only
//     claims; headers are bounded (100 MB of JSON, 64 MiB of pickle, 16 MiB of
//     zip directory) and so is the number of a pickle's opcodes.
//   - Every tensor lies inside its file when it was opened.
//   - A [Tensor] and a [Checkpoint] may be read from many goroutines at once.
//
// # Caveats
//
//   - Names are kept as stored, with or without a "model." prefix.
//   - Of element types that package tensor lacks F64 is read as F32. [FP8] and [MXFP4]
//     join weights of 8 and 4 bits with the tensor that holds their scales. Others are
//     listed, but reading one is an error ([Tensor.Err]): harmless extras (int64
//     position ids) do not stop a model from loading.
//   - Tensors of .bin files that are not contiguous are read piece by piece,
//     which is slow.
//   - An index only names files: what these hold is listed, whatever it says.
//   - The zip archive's CRC-32 is not checked, because it covers whole
//     storages and reads are partial.
package source
