package disk

import "github.com/sparseflow/sparseflow/internal/pack"

// readPlaces is where each neuron's bundle lies among its layer's,
// [layers][ffn]; nil where that is the neuron's own number.
func readPlaces(p *pack.Pack) ([][]int32, error) {
	if !p.Ordered() {
		return nil, nil
	}
	places := make([][]int32, p.Profile().Layers)
	for l := range places {
		order, err := p.Order(l)
		if err != nil {
			return nil, err
		}
		places[l] = make([]int32, len(order))
		for at, id := range order {
			places[l][id] = int32(at)
		}
	}
	return places, nil
}

// Places is where each neuron's bundle lies among its layer's, [layers][ffn];
// nil where bundles lie in the order of neurons. It is not to be changed.
func (s *DiskWeightStore) Places() [][]int32 { return s.places }

// ReadNeurons reads the len(dst) neurons of a layer from first on, wherever
// their bundles lie, one into each of dst as ReadBundles does.
func (s *DiskWeightStore) ReadNeurons(layer, first int, dst [][]byte) error {
	if s.places == nil {
		return s.ReadBundles(layer, first, dst)
	}
	for i := range dst {
		if err := s.ReadBundles(layer, int(s.places[layer][first+i]), dst[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}
