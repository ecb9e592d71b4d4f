package gateway_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rule is what a package may import besides the standard library. Test files may
// import more; what ships may not.
type rule struct {
	ours    []string // packages of this module; "…" is all of them
	outside []string // modules' import paths, or what they start with
	support bool     // for tests only: nothing that ships may import it
}

var (
	words  = []string{"gateway"}
	wiring = []string{"…"}
	served = []string{"gateway", "gateway/web"} // rooms that speak HTTP stand on the half-landing
)

// house is the three storeys (doc.go). A room imports the words and nothing else of
// ours; each outside library has one home, x/sys and x/sync aside.
var house = map[string]rule{
	"gateway": {}, // the words: the standard library alone

	"gateway/access":       {ours: words},
	"gateway/tokens":       {ours: words, outside: []string{"github.com/go-jose/go-jose/v4"}},
	"gateway/doors":        {ours: words},
	"gateway/issuers":      {ours: words},
	"gateway/residents":    {ours: words},
	"gateway/wallclock":    {ours: words, outside: []string{"golang.org/x/sys"}},
	"gateway/certs":        {ours: words},
	"gateway/web":          {ours: words},
	"gateway/web/webtest":  {ours: words, outside: []string{"github.com/getkin/kin-openapi"}, support: true},
	"gateway/api":          {ours: served, outside: []string{"golang.org/x/sync", "golang.org/x/sys"}},
	"gateway/api/phone":    {ours: []string{"gateway", "gateway/api", "gateway/tokens"}, support: true},
	"gateway/uplink":       {ours: served, outside: []string{"golang.org/x/sys"}},
	"gateway/cloud":        {ours: served, outside: []string{"github.com/prometheus/client_golang", "golang.org/x/time"}},
	"gateway/mdns":         {ours: words, outside: []string{"github.com/grandcat/zeroconf", "github.com/miekg/dns", "github.com/godbus/dbus/v5", "github.com/jsimonetti/rtnetlink/v2", "github.com/mdlayher/netlink", "golang.org/x/net", "golang.org/x/sys"}},
	"gateway/mdns/lantest": {support: true},
	"drivers/sim":          {ours: words},
	"drivers/gpio":         {ours: words, outside: []string{"periph.io/x/conn/v3", "periph.io/x/host/v3", "github.com/warthog618/go-gpiocdev", "golang.org/x/sys"}},
	"drivers/gpio/gpiosim": {outside: []string{"github.com/warthog618/go-gpiosim"}, support: true},
	"drivers/wiegand":      {ours: words},
	"drivers/keypad":       {ours: words, outside: []string{"periph.io/x/conn/v3"}},
	"drivers/serial":       {ours: words, outside: []string{"go.bug.st/serial"}},
	"drivers/evdev":        {ours: words, outside: []string{"github.com/holoplot/go-evdev"}},
	"drivers/drivertest":   {ours: words, support: true},
	"store":                {ours: words, outside: []string{"github.com/mattn/go-sqlite3"}},
	"store/storetest":      {ours: []string{"gateway", "store"}, support: true},
	"store/powercut":       {ours: []string{"gateway", "store"}, outside: []string{"github.com/mattn/go-sqlite3", "golang.org/x/sys"}, support: true},
	"store/mailbox":        {ours: words, outside: []string{"github.com/mattn/go-sqlite3", "github.com/jackc/pgx/v5"}},
	"store/mailbox/pgtest": {outside: []string{"github.com/jackc/pgx/v5"}, support: true},
	"configs":              {ours: words, outside: []string{"github.com/spf13/viper", "github.com/go-viper/mapstructure/v2", "go.yaml.in/yaml/v3"}},
	"systemd":              {ours: words, outside: []string{"github.com/coreos/go-systemd/v22"}},

	"cmd/gardiend":               {ours: wiring, outside: []string{"github.com/spf13/cobra"}},
	"cmd/gardiend/hardware":      {ours: []string{"gateway", "gateway/doors", "configs", "drivers/evdev", "drivers/gpio", "drivers/keypad", "drivers/serial", "drivers/sim", "drivers/wiegand"}, outside: []string{"golang.org/x/sys"}},
	"cmd/gardiend/daemon":        {ours: wiring, outside: []string{"golang.org/x/sync", "golang.org/x/sys"}},
	"cmd/gardien":                {ours: wiring, outside: []string{"github.com/spf13/cobra", "golang.org/x/sys", "golang.org/x/term", "rsc.io/qr"}},
	"cmd/gardien-issuer":         {ours: wiring, outside: []string{"github.com/spf13/cobra"}},
	"cmd/gardien-issuer/carrier": {ours: []string{"gateway", "gateway/cloud", "gateway/tokens", "gateway/uplink", "gateway/web"}},
	"cmd/gardien-cloud":          {ours: wiring, outside: []string{"github.com/spf13/cobra"}},
	"cmd/gardien-cloud/service":  {ours: wiring, outside: []string{"golang.org/x/sync", "golang.org/x/sys"}},
	"cmd/gardien-demo/cable":     {},
	"cmd/gardien-demo":           {ours: wiring, outside: []string{"github.com/spf13/cobra"}},
}

// withoutCgo are the programs that run where no C library of ours does.
var withoutCgo = []string{"cmd/gardien", "cmd/gardien-issuer", "cmd/gardiend/hardware"}

const module = "gardien"

type pkg struct {
	ImportPath    string
	Imports, Deps []string
	Standard      bool
	CgoFiles      []string
}

func goList(t *testing.T, args ...string) (list []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Imports,Deps,Standard,CgoFiles"}, args...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func ours(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func allowed(list []string, path string) bool {
	return slices.ContainsFunc(list, func(a string) bool {
		return a == "…" || path == a || strings.HasPrefix(path, a+"/") && strings.Contains(a, ".")
	})
}

func TestStoreys(t *testing.T) {
	found := map[string]bool{}
	for _, p := range goList(t, "./...") {
		name, _ := ours(p.ImportPath)
		found[name] = true
		r, known := house[name]
		if !known {
			t.Errorf("%s is not in the table of arch_test.go. Think about its storey first: does it speak the words only (gateway), "+
				"do one job and know no other room (a room), or plug rooms together (cmd)? Then add a line that says what it may import.", name)
			continue
		}
		for _, i := range p.Imports {
			if i == "C" {
				t.Errorf("%s uses cgo itself: no package of ours does", name)
			} else if other, mine := ours(i); mine {
				if !allowed(r.ours, other) {
					t.Errorf("%s imports %s. A room that needs another's service declares a small interface of its own, and cmd plugs it in.", name, other)
				}
				if house[other].support && !r.support {
					t.Errorf("%s imports %s, which is for tests", name, other)
				}
			} else if strings.Contains(strings.Split(i, "/")[0], ".") && !allowed(r.outside, i) {
				t.Errorf("%s imports %s, which has its home elsewhere (or nowhere yet: arch_test.go)", name, i)
			}
		}
	}
	for name, r := range house {
		if !found[name] && !r.support {
			t.Errorf("%s is in the table of arch_test.go, but not in the tree", name)
		}
	}
}

// TestToolsWithoutDatabase: who runs a tool on a laptop needs no C compiler.
func TestToolsWithoutDatabase(t *testing.T) {
	for _, tool := range withoutCgo {
		for _, p := range goList(t, "-deps", "./"+tool) {
			if strings.HasPrefix(p.ImportPath, "github.com/mattn/go-sqlite3") || p.ImportPath == module+"/store" {
				t.Errorf("%s depends on %s", tool, p.ImportPath)
			}
			if len(p.CgoFiles) > 0 && !p.Standard {
				t.Errorf("%s depends on %s, which uses cgo", tool, p.ImportPath)
			}
		}
	}
}

// TestDirectModules bounds what a reader of go.mod has to trust.
func TestDirectModules(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	if len(direct) == 0 || len(direct) > 34 {
		t.Errorf("%d direct modules, at most 34: %v", len(direct), direct)
	}
}

// The files that eachFile parses.
const (
	whatShips = false
	testsToo  = true
)

func eachFile(t *testing.T, tests bool, f func(path string, file *ast.File)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != ".." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") && !tests:
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		files++
		f(path, file)
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestNoHostInit: periph's host drivers claim lines that are not theirs.
func TestNoHostInit(t *testing.T) {
	eachFile(t, whatShips, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Init" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "host" {
					t.Errorf("%s calls host.Init", path)
				}
			}
			return true
		})
	})
}

// TestInterfacesAreSmall: an interface speaks of one thing, and a fake of it fits on a page.
func TestInterfacesAreSmall(t *testing.T) {
	const most = 12
	eachFile(t, whatShips, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			i, ok := spec.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			if len(i.Methods.List) > most {
				t.Errorf("%s: interface %s has %d methods, at most %d: split it by what it speaks of", path, spec.Name.Name, len(i.Methods.List), most)
			}
			return true
		})
	})
}

// TestTypesAreSmall: a type of over 40 methods holds more than one idea.
func TestTypesAreSmall(t *testing.T) {
	const most = 40
	methods := map[string]int{}
	eachFile(t, whatShips, func(path string, f *ast.File) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			on := fn.Recv.List[0].Type
			if p, ok := on.(*ast.StarExpr); ok {
				on = p.X
			}
			if p, ok := on.(*ast.IndexExpr); ok {
				on = p.X
			}
			methods[filepath.Dir(path)+"."+on.(*ast.Ident).Name]++
		}
	})
	if len(methods) < 100 {
		t.Fatalf("%d types with methods were found: this test looks at nothing", len(methods))
	}
	for name, n := range methods {
		if n > most {
			t.Errorf("%s has %d methods, at most %d: which of them use the same fields?", name, n, most)
		}
	}
}

// TestFilesAreShort: no file has over 500 lines, tests too.
func TestFilesAreShort(t *testing.T) {
	const most = 500
	eachFile(t, testsToo, func(path string, _ *ast.File) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > most {
			t.Errorf("%s has %d lines, at most %d: do two ideas live in it?", path, n, most)
		}
	})
}
