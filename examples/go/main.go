// Command check runs every conformance row of a bundle in ONNX Runtime: check LIBRARY BUNDLE DRAWS.
//
// It exits with 1 if a row fails. LIBRARY is ONNX Runtime's shared library.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	ort "github.com/yalue/onnxruntime_go"
)

// The graph to embed: one column per feature in, every output out.
const graph = "scorer.onnx"

type conformance struct {
	BundleID   string             `json:"bundle_id"`
	Rows       int                `json:"rows"`
	Tolerances map[string]float64 `json:"tolerances"`
	Inputs     map[string][]any   `json:"inputs"`
	Outputs    map[string]any     `json:"outputs"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: check LIBRARY BUNDLE DRAWS")
	}
	passed, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	if !passed {
		os.Exit(1)
	}
}

func check(library, bundle, drawsFile string) (bool, error) {
	var rows conformance
	if err := read(filepath.Join(bundle, "conformance", "conformance.json"), &rows); err != nil {
		return false, err
	}
	var draws map[string]uint32
	if err := read(drawsFile, &draws); err != nil {
		return false, err
	}
	// ONNX Runtime reports usage to its vendor unless this is set before it starts.
	os.Setenv("ORT_DISABLE_TELEMETRY", "1")
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(); err != nil {
		return false, err
	}
	defer ort.DestroyEnvironment()
	found, err := score(filepath.Join(bundle, graph), rows.Inputs)
	if err != nil {
		return false, err
	}

	fmt.Println("onnxruntime", ort.GetVersion())
	fmt.Printf("%s: %d conformance rows\n", rows.BundleID, rows.Rows)
	passed := true
	for _, name := range slices.Sorted(maps.Keys(rows.Tolerances)) {
		allowed := rows.Tolerances[name]
		worst := difference(flat(rows.Outputs[name]), found[name])
		passed = passed && worst <= allowed
		fmt.Printf("%-14s worst difference %.2e, allowed %g: %s\n", name, worst, allowed, verdict(worst <= allowed))
	}
	same := true
	for text, expected := range draws {
		same = same && draw(text) == expected
	}
	fmt.Println("draws of control group and arms:", verdict(same))
	return passed && same, nil
}

// score gives every output by name, row after row, for users given as one column of values per feature.
func score(path string, columns map[string][]any) (map[string][]float64, error) {
	inputs, outputs, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, err
	}
	session, err := ort.NewDynamicAdvancedSession(path, names(inputs), names(outputs), nil)
	if err != nil {
		return nil, err
	}
	defer session.Destroy()
	feeds := make([]ort.Value, len(inputs))
	for n, input := range inputs {
		if feeds[n], err = column(input.DataType, columns[input.Name]); err != nil {
			return nil, err
		}
		defer feeds[n].Destroy()
	}
	results := make([]ort.Value, len(outputs))
	if err := session.Run(feeds, results); err != nil {
		return nil, err
	}
	found := map[string][]float64{}
	for n, output := range outputs {
		found[output.Name] = numbers(results[n])
		results[n].Destroy()
	}
	return found, nil
}

func names(infos []ort.InputOutputInfo) []string {
	found := make([]string, len(infos))
	for n, info := range infos {
		found[n] = info.Name
	}
	return found
}

// column is a tensor [rows, 1]; a missing value is NaN or an empty text.
func column(kind ort.TensorElementDataType, values []any) (ort.Value, error) {
	shape := ort.NewShape(int64(len(values)), 1)
	if kind == ort.TensorElementDataTypeString {
		texts := make([]string, len(values))
		for row, value := range values {
			texts[row], _ = value.(string)
		}
		tensor, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		return tensor, tensor.SetContents(texts)
	}
	floats := make([]float32, len(values))
	for row, value := range values {
		if number, known := value.(float64); known {
			floats[row] = float32(number)
		} else {
			floats[row] = float32(math.NaN())
		}
	}
	return ort.NewTensor(shape, floats)
}

func numbers(value ort.Value) []float64 {
	var found []float64
	switch tensor := value.(type) {
	case *ort.Tensor[float32]:
		for _, number := range tensor.GetData() {
			found = append(found, float64(number))
		}
	case *ort.Tensor[int64]:
		for _, number := range tensor.GetData() {
			found = append(found, float64(number))
		}
	}
	return found
}

// flat gives the numbers in lists of lists; the document holds each float32 as its shortest text.
func flat(value any) []float64 {
	if number, isNumber := value.(float64); isNumber {
		return []float64{float64(float32(number))}
	}
	var found []float64
	for _, each := range value.([]any) {
		found = append(found, flat(each)...)
	}
	return found
}

// difference is the largest difference, relative for numbers above 1; NaN never counts as close.
func difference(expected, found []float64) float64 {
	if len(expected) != len(found) {
		return math.Inf(1)
	}
	worst := 0.0
	for n := range expected {
		share := math.Abs(found[n]-expected[n]) / math.Max(1, math.Abs(expected[n]))
		if !(share <= worst) {
			worst = share
		}
		if math.IsNaN(share) {
			return math.Inf(1)
		}
	}
	return worst
}

// draw gives a number from 0 to 2^32 - 1: the first 8 hex digits of SHA-256.
//
// A user is in the control group if draw("control-v1:" + id) < share * 2^32, and in the first arm whose
// cumulated share exceeds draw("arm-v1:" + campaign + ":" + id) / 2^32.
func draw(text string) uint32 {
	digest := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint32(digest[:4])
}

func read(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

func verdict(good bool) string {
	if good {
		return "ok"
	}
	return "WRONG"
}
