package disk

import (
	"testing"
	"time"
)

// Who waits for another's turn to end has waited: what the other told of may be
// its own. Who does not wait goes away.
func TestPollTurn(t *testing.T) {
	var turn pollTurn
	for pause := time.Microsecond; ; pause *= 2 {
		if mine, still := turn.take(true); !mine || !still {
			t.Fatalf("alone: got %v, %v, want a turn, and to wait in it", mine, still)
		}
		if mine, _ := turn.take(false); mine {
			t.Fatal("without waiting, while another polls: got a turn, want none")
		}
		waited := make(chan bool)
		go func() {
			mine, still := turn.take(true)
			if !mine {
				t.Error("after another: got no turn, want one")
			}
			waited <- !still
		}()
		time.Sleep(pause) // until it has come to wait
		turn.give()
		done := <-waited
		turn.give()
		if done {
			return
		}
		if pause > time.Second {
			t.Fatal("after another: got a turn to wait in, want none left")
		}
	}
}
