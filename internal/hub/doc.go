// Package hub finds models on this machine: the embedded one, GGUF files, Hugging
// Face directories, packs, and what package pull and other programs have put into
// the Hugging Face hub cache.
//
// The hub cache is laid out as huggingface_hub documents it
// (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): a model
// org/name is the folder models--org--name, whose refs/main holds a revision and
// whose snapshots/<revision> holds the files, as links into blobs. Where the
// cache lies is looked up in the environment as that library does: HF_HUB_CACHE,
// HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub,
// ~/.cache/huggingface/hub; and TRANSFORMERS_CACHE, which older versions of
// transformers use.
//
// Nothing here reaches for the network or writes a file.
package hub
