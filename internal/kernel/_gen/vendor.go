package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// vendor writes Vendor, which golang.org/x/sys/cpu does not tell: CPUID, leaf 0
// (Intel's manual, volume 2A).
func vendor() {
	TEXT("Vendor", 1<<2, "func() (b, d, c uint32)") // NOSPLIT
	Doc("Vendor returns the processor's vendor as CPUID has it, twelve characters in", "three registers.")
	XORL(reg.EAX, reg.EAX)
	XORL(reg.ECX, reg.ECX)
	CPUID()
	Store(reg.EBX, ReturnIndex(0))
	Store(reg.EDX, ReturnIndex(1))
	Store(reg.ECX, ReturnIndex(2))
	RET()
}
