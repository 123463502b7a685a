package sparseflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/lab/tinymoe"
	"github.com/sparseflow/sparseflow/internal/memory"
)

// Environment of the process that TestExpertsKeepTheBudget measures, and of the test:
// a model in place of the one that it writes, which scripts/memory-limit-experts.sh sets.
const (
	budgetModel  = "SPARSEFLOW_TEST_BUDGET_MODEL"
	budgetBytes  = "SPARSEFLOW_TEST_BUDGET_BYTES"
	budgetGroup  = "SPARSEFLOW_TEST_BUDGET_GROUP"
	budgetPrompt = "SPARSEFLOW_TEST_BUDGET_PROMPT"
)

// kept is what the measured process tells.
type kept struct {
	Peak int64
	Hash uint64 // of all ids
}

// Law 4 for experts: a process of its own keeps to its budget over a prompt of
// thousands of tokens, changes of topic and 200 short requests, and says the same as
// with everything in memory. Where there is a memory cgroup to be had, the budget is
// its limit too, and going beyond ends the process.
func TestExpertsKeepTheBudget(t *testing.T) {
	model, prompt := os.Getenv(budgetModel), 1500
	if model == "" {
		if testing.Short() {
			prompt = 300
		}
		model = t.TempDir()
		s := tinymoe.Shape{Hidden: 128, Layers: 4, Heads: 2, Experts: 32, TopK: 4, Width: 256, Vocab: 512, Positions: 4608}
		if err := tinymoe.Write(model, s); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := strconv.Atoi(os.Getenv(budgetPrompt)); err == nil {
		prompt = n
	}
	s := sparseflow.DefaultStrategy()
	s.Context = prompt + 100
	p, err := sparseflow.Plan(model, sparseflow.WithStrategy(s))
	if err != nil {
		t.Fatal(err)
	}
	least, all := p.Process.MinimumBytes, p.Process.TotalBytes
	budgets := []int64{least, least + (all-least)/2, all}
	if b, err := strconv.ParseInt(os.Getenv(budgetBytes), 10, 64); err == nil {
		budgets = []int64{b}
	}
	var want uint64
	for _, budget := range budgets {
		got, limited := measured(t, model, budget, prompt)
		if got.Peak > budget {
			t.Errorf("budget of %d bytes (limited: %v): got a peak of %d, want at most that", budget, limited, got.Peak)
		}
		if want == 0 {
			want = got.Hash
		}
		if got.Hash != want {
			t.Errorf("budget of %d bytes: got other tokens than with %d", budget, budgets[0])
		}
		t.Logf("budget %d, limited %v: peak %d, %.0f %%", budget, limited, got.Peak, 100*float64(got.Peak)/float64(budget))
	}
}

// measured runs the child in a memory cgroup of the budget's size, if it may.
func measured(t *testing.T, model string, budget int64, prompt int) (k kept, limited bool) {
	t.Helper()
	group, remove := memoryGroup(budget)
	defer remove()
	cmd := exec.Command(os.Args[0], "-test.run=^TestExpertsBudgetChild$")
	cmd.Env = append(os.Environ(), budgetModel+"="+model, budgetBytes+"="+strconv.FormatInt(budget, 10), budgetGroup+"="+group,
		budgetPrompt+"="+strconv.Itoa(prompt), "SPARSEFLOW_TEST_BUDGET_CHILD=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles, cmd.Stderr = []*os.File{w}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	decoded := json.NewDecoder(r).Decode(&k)
	if err := errors.Join(cmd.Wait(), decoded); err != nil {
		t.Fatalf("budget of %d bytes (limited: %v): %v", budget, group != "", err)
	}
	return k, group != ""
}

// memoryGroup makes a memory cgroup of a limit, "" where that is not to be had.
func memoryGroup(limit int64) (dir string, remove func()) {
	for _, g := range []struct{ root, limit string }{
		{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		dir := filepath.Join(g.root, fmt.Sprintf("sparseflow-test-%d-%d", os.Getpid(), limit))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(dir, g.limit), []byte(strconv.FormatInt(limit, 10)), 0o644) == nil {
			return dir, func() { os.Remove(dir) }
		}
		os.Remove(dir)
	}
	return "", func() {}
}

// TestExpertsBudgetChild is the measured process.
func TestExpertsBudgetChild(t *testing.T) {
	if os.Getenv("SPARSEFLOW_TEST_BUDGET_CHILD") == "" {
		t.Skip("only TestExpertsKeepTheBudget runs it")
	}
	if group := os.Getenv(budgetGroup); group != "" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	budget, _ := strconv.ParseInt(os.Getenv(budgetBytes), 10, 64)
	prompt, _ := strconv.Atoi(os.Getenv(budgetPrompt))
	s := sparseflow.DefaultStrategy()
	s.Budget.Bytes, s.Context = budget, prompt+100
	e, err := sparseflow.Open(context.Background(), os.Getenv(budgetModel), sparseflow.WithStrategy(s), sparseflow.WithCacheDir(t.TempDir()),
		sparseflow.WithPlacement(func(p *sparseflow.Placement) { memory.LimitHeap(p.Process.BudgetBytes, p.MemoryBytes) }))
	if err != nil {
		t.Fatal(err)
	}
	hash := fnv.New64a()
	run := func(first, vocab, n, tokens int) {
		rng := rand.New(rand.NewPCG(uint64(first), uint64(n)))
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(first + rng.IntN(vocab))
		}
		r, err := e.Generate(context.Background(), sparseflow.Request{IDs: ids, MaxTokens: tokens, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(hash, r.IDs)
	}
	vocab := e.Profile().VocabSize
	run(0, vocab, prompt, 4)
	for topic := range 8 {
		run(topic*vocab/8, vocab/8, 48, 32)
	}
	for i := range 200 {
		run(i%vocab/2, vocab/4, 8, 3)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.NewFile(3, "result")).Encode(kept{memory.PeakRSS(), hash.Sum64()}); err != nil {
		t.Fatal(err)
	}
}
