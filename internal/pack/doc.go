// Package pack reads and writes the neuron-major model file (.sflow): the same
// weights as a checkpoint, laid out so that one MLP neuron is one aligned read.
//
// # Model
//
// A model has resident tensors (embeddings, attention, norms, biases, the
// sketches of its neurons' first parts), which every token needs, and MLP neurons,
// of which a token needs few where the activation function gives exact zeros.
// Neuron i of a layer is stored as a bundle: row i of the MLP's first matrix, of a
// gated MLP also of its second, then column i of the last, zero-padded to the
// bundle stride. Where no neuron can be left out, the MLP's matrices are resident
// tensors too, or it is experts. An expert is stored as one piece: the rows of its
// gate, of its up and of its down, and zeros up to the next page. A pack is
//
//	header | resident tensors | crc.blocks, crc.bundles | bundles or experts by layer | crc.head
//
// and is also a valid safetensors file (https://huggingface.co/docs/safetensors,
// "Format"), so any safetensors reader can list and load it. Its metadata are
// strings: sparseflow.version, .name, .profile (JSON of config.ModelProfile),
// .source_sha256, .dtype.attn, .dtype.mlp, .dtypes (JSON: the element types of
// single matrices) and .bundle_stride. Everything else
// about the layout follows from these and the sizes of the tokenizer files;
// [Open] computes it anew and demands that the header says the same.
//
// Names are those of no family: embed.tokens, embed.positions, project.in,
// project.out, head, final_norm.{weight,bias}, rope.divisors, and for each layer L
//
//	layers.L.attn_norm.{weight,bias}       layers.L.mlp_norm.{weight,bias}
//	layers.L.attn.{q,k,v,o}.{weight,bias}  layers.L.mlp.{gate,up,down}.{weight,bias}
//	layers.L.attn.{q_norm,k_norm}.weight   layers.L.{attn,mlp}_post_norm.weight
//	layers.L.mlp.{sketch,sketch_scale}     layers.L.mlp.bundles
//	layers.L.mlp.order                     layers.L.attn.sinks
//	layers.L.moe.router.{weight,bias}      layers.L.moe.score_bias
//	layers.L.moe.experts                   layers.L.moe.experts.{gate,up,down}.bias
//	layers.L.moe.shared_gate.weight        layers.L.moe.shared.{gate,up,down}.weight
//
// of which a model has what its profile says (config.ModelProfile.LayerTensors).
//
// plus tokenizer/<file> for the tokenizer's files and pad.N for the zeros that
// align what follows, since safetensors knows no holes. Matrices have the
// element type of their class (attention: all outside MLPs; MLP: bundles, or the
// matrices of MLPs and experts), or one of their own; vectors are F32. Sketches
// exist only for activations with exact zeros; see [PackSketch].
//
// Bundle i is neuron i, unless the pack has been put into another order
// ([Reorder]; sparseflow.ordered is "true"). Then layers.L.mlp.order, U32, says
// which neuron each bundle is. Everything else, sketches and biases too, counts
// neurons as the checkpoint does, and so do all who use a pack: what they add up
// does not depend on the order.
//
// A model of which no neuron can be left out needs no bundles: its files are used
// where and as they lie, by [InPlace], and are a Pack to all who use one.
//
// # Guarantees
//
// Of a .sflow file:
//
//   - Every resident tensor, and the first bundle, starts at a multiple of
//     4096; the stride is a multiple of what the file system asks of direct
//     reads (512 where it allows or does not say); the file is a multiple of
//     4096 long. So every part can be read with O_DIRECT.
//   - Every byte is under a CRC-32C (Castagnoli, RFC 3720 appendix B.4) or is
//     padding that must be zero. The unit is what is read at a time: a bundle
//     with its padding, an expert with its own, or a block of whole rows of at
//     most 1 MiB, so that each first read can be checked ([Pack.CheckBundle],
//     [Pack.CheckExpert], [Pack.CheckBlock]).
//     Header and tables are checked by Open, everything by [Verify].
//   - A pack appears under its name complete and synced, or not at all
//     ([Create]).
//   - Any damage gives an error that names the file, the part and its offset;
//     nothing is allocated by a size that was not compared with the file's.
//
// # Caveats
//
//   - CRCs find accidents. They do not stop somebody who means harm.
//   - A pack of another version is refused, with the command that makes it again.
//   - Open reads header and tables only; whether the weights are intact is
//     known when they are read.
package pack
