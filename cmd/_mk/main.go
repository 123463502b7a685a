package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/convert/randopt"
)

func main() {
	n := func(i int) int { v, _ := strconv.Atoi(os.Args[i]); return v }
	p := randopt.Profile(n(2), n(3), n(4), n(5), n(6), n(7))
	p.Synthetic = true
	defer func() {
		c, _ := os.ReadFile(os.Args[1] + "/config.json")
		os.WriteFile(os.Args[1]+"/config.json", []byte(`{"sparseflow_synthetic": true,`+string(c[1:])), 0o666)
	}()
	fmt.Println(randopt.Write(os.Args[1], randopt.Options{Profile: p}))
}
