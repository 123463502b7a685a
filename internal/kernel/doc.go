// Package kernel holds the inner loops of the CPU path: dot products and
// scaled additions over weight rows, the products with sketches of 3 and 4 bits,
// and the conversions between float32 and the 16-bit weight types. Each loop
// exists in plain Go, which is its twin, and in amd64 assembly for AVX2 or AVX-512.
// [Attention] is the loops over pages of keys and values, in an order of their
// own.
//
// # Use
//
// A [Set] is one family of kernels. Take one with [Best] when a backend is
// made and keep it; [All] is for tests. [Set.Rows] gives the kernels for a type of
// weights, to be looked up once for a tensor. Sets are values and nothing in this
// package changes after start.
//
// # Guarantees
//
// Every set gives the same bits for the same input, NaN payloads aside, at
// every length and alignment: plain Go, AVX2 and AVX-512 agree exactly, and
// what Dot4, MatVec and Tile return agrees with Dot, and what Outer adds with
// Axpy. So results depend neither on the machine nor on how tokens are batched.
// This holds because the order of summation is part of each kernel's contract:
//
//   - Let n16 be n rounded down to a multiple of 16. Product k < n16 is added,
//     in ascending k and by fused multiply-add, to partial sum k mod 64.
//   - The 64 partial sums are halved six times: sum l takes sum l+32, then
//     l+16, l+8, l+4, l+2, l+1.
//   - Products n16 to n-1 are added to the result one by one, in order, by
//     fused multiply-add.
//
// Against the exact sum the error is at most (n/64+23) * 2^-24 * sum|w*x|,
// short of overflow and underflow: no product takes part in more than n/64+1
// additions to its partial sum, 6 halvings and 15 single elements. Go has no
// float32 fused multiply-add. The twins round one correctly from float64 (see
// fma32), which costs speed and makes them exact.
//
// # Chunks of blocks
//
// Rows of GGUF's blocks ([Set.Blocks]) are multiplied with activations that RoundX
// has rounded to 8 bits, in integers. Block b is 32 elements, in types of larger
// blocks a part of one. Its sum of products is exact. As a float32 it is added by
// fused multiply-add, times the rounded product of the block's scale (of one that
// is a product itself, that rounded) and the activations' scale, to partial sum
// b mod 16, in ascending b. Where a type has a least value, that follows by another
// fused multiply-add, times what the record has for it. Where the halves of a block
// have scales of their own, the low half is added first, then the other, then the
// least values of either. The sixteen partial sums are halved four times, as above.
// [Gemm] gives the same bits: it has a row in each lane, where Dot has a block.
//
// AVX-512 reads two rows at a time ([Rows.MatVec2], [Rows.Fine]), since a processor
// fetches but some lines ahead of one reader. What a row has beyond its whole chunks is
// taken with what follows it in memory, and the lanes of that are masked; of no more
// than half a chunk both rows' fill one chunk's lanes. Rows of experts are as short as
// a chunk and a half.
//
// # Quantised neurons
//
// Rows of Q8_0 and Q4_0 of which each token wants some are multiplied with records
// of QuantizeX. Of block b, lane j of four is the exact
// sum over the elements 4j to 4j+3 and 16+4j to 16+4j+3. As a float32 it is
// added by fused multiply-add, times the rounded product of the two scales, to
// partial sum 4(b mod 4)+j, in ascending b; a row whose blocks are no multiple
// of four goes on with blocks of zeros. The sixteen partial sums are halved
// four times, as above.
//
// For both, the error against the exact product with the rounded activations
// is at most (n/128+7) * 2^-24 * sum|w*x|, with |w| the sum of the magnitudes of
// what is added to make it; rounding loses up to 1/254 of a block's largest
// activation in each.
//
// Kernels read and write nothing outside the elements their slices name, and
// allocate nothing.
//
// # Caveats
//
// The assembly trusts its caller: lengths are contracts, stated at each field
// and not checked. Slices need their element's natural alignment only, but
// rows that start on a cache line run fastest. Subnormals are kept, never
// flushed to zero. Rounding follows the mode that Go runs in, to nearest even.
//
// # Prefetch
//
// Hardware prefetchers follow a row but not a jump to the next active row, and
// lose a row's first lines. Each streaming kernel therefore takes the address
// of the row that comes next and asks for its cache lines while it walks the
// current one. A nil next asks 8 KiB ahead in memory, which is right for rows
// that lie one after the other; what takes many of them ([Rows.MatVec]) is told
// the distance, since processors differ in it ([Set.Ahead]). A prefetch never faults, so next may be the start
// of any row, shorter or not. BenchmarkStream measures kernels beside a loop that
// only loads.
//
// # Many tokens
//
// Where many tokens meet the same weights, arithmetic is the limit. A tile
// ([Set.TileF32]) multiplies 4 weight rows with 6 tokens. It does so in four
// passes, each over the elements that belong to 16 of the 64 partial sums, so
// that a pass holds the sums of all 24 outputs in registers. The passes' sums
// are then halved as any other. A panel ([Set.PanelRow]) holds the tokens in
// the order of the passes, since rows a power of two apart would compete for
// the same places of the cache. So prompts and decoding have the same bits. The
// usual outer product, which sums each output in ascending k, is hardly faster,
// and rows that only some tokens want, which are dot products, could not follow
// its order.
//
// Rows of 16 bits and quantised ones are unpacked once for all tokens: to
// float32, which is exact, and into forms that the kernels of quantised rows want.
// For dot products that is a set's own ([Rows.Widen]), for scaled additions pairs
// of bfloat16 ([Rows.Pairs]). All give the bits of Dot and Axpy.
//
// # Formats
//
// float16 is IEEE 754-2019 binary16; bfloat16 is the upper half of binary32.
// Conversions to 16 bits round half to even, keep subnormals, overflow to
// infinity, and turn NaN quiet with the upper payload bits kept, as F16C does.
// Sketches are described at [Set.DotU4S8] and [PackSketch3], quantised blocks in
// package tensor.
//
// # Assembly
//
// The amd64 folder is generated by avo from _gen, a module of its own so that
// avo is no dependency of the program. go generate rewrites it byte for byte.
// The build tag noasm leaves the assembly out.
package kernel

//go:generate go run -C _gen . -isa avx2 -out ../amd64/avx2_amd64.s -stubs ../amd64/avx2_amd64.go -pkg amd64
//go:generate go run -C _gen . -isa avx512 -out ../amd64/avx512_amd64.s -stubs ../amd64/avx512_amd64.go -pkg amd64
