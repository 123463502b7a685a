package main

import (
	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/memory"
)

// limitToConvert holds the heap to what converting a model needs.
func limitToConvert() { memory.LimitHeapToConvert() }

// limitToPlan holds the heap to what a plan leaves it.
func limitToPlan(p *sparseflow.Placement) { memory.LimitHeap(p.Process.BudgetBytes, p.MemoryBytes) }
