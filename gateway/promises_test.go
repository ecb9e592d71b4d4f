package gateway_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The papers, as seen from this folder.
const (
	contract = "contract.md"
	promises = "promises.md"
	readme   = "../README.md"
	stories  = "../cmd/gardiend/testdata/script"
)

var papers = []string{contract, promises, readme}

// tree is what the repository's files cite and have.
type tree struct {
	codes    map[string]string   // cited promises, and where
	sections map[string]string   // cited sections of the contract, and where
	routes   map[string]string   // of the APIs, and where
	words    map[string]string   // event types, reasons, ailments and kinds of findings, and where
	tests    map[string][]string // test names and stories, and their folders
}

// repository is looked at once.
var repository = sync.OnceValues(func() (tree, error) {
	r := tree{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string][]string{}}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (path != ".." && strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" && !strings.HasPrefix(stories, path)):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") && filepath.Dir(path) != stories:
			return nil
		}
		src, err := os.ReadFile(path)
		r.file(path, src)
		return err
	})
	return r, err
})

func look(t *testing.T) tree {
	t.Helper()
	r, err := repository()
	if err != nil || len(r.tests) < 200 {
		t.Fatalf("%d tests found, %v", len(r.tests), err)
	}
	return r
}

func (r *tree) file(path string, src []byte) {
	if strings.HasSuffix(path, ".txtar") {
		r.tests[filepath.Base(path)] = []string{""}
		r.story(path, string(src))
		return
	}
	for _, m := range testFunc.FindAllSubmatch(src, -1) {
		r.tests[string(m[1])] = append(r.tests[string(m[1])], filepath.ToSlash(filepath.Dir(path))[len("../"):])
		if c := testCode.FindSubmatch(m[1]); c != nil {
			r.codes[string(c[1])] = path
		}
	}
	r.tokens(path, src)
	if filepath.Dir(path) == "../gateway" {
		for _, m := range wordConst.FindAllSubmatch(src, -1) {
			r.words[string(m[1])] = path
		}
	}
}

const letters = "[APTDFNWZSLRIH]"

var (
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)`)
	testCode  = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz)(` + letters + `[1-9][0-9]?)_`)
	wordConst = regexp.MustCompile(`(?:EventType|Reason|Ailment|FindingKind)\s+= "([a-z._]+)"`)
	wholeCode = regexp.MustCompile(`^` + letters + `[1-9][0-9]?$`)
	inBraces  = regexp.MustCompile(`\((` + letters + `[1-9][0-9]?)\)`)
	section   = regexp.MustCompile(`contract §([0-9]+)`)
	route     = regexp.MustCompile(`/v1/[a-z{}/._-]*[a-z}]`)
)

// tokens looks at comments, at the texts of tests, and at the routes.
func (r *tree) tokens(path string, src []byte) {
	var s scanner.Scanner
	set := token.NewFileSet()
	s.Init(set.AddFile(path, set.Base(), len(src)), src, nil, scanner.ScanComments)
	isTest := strings.HasSuffix(path, "_test.go")
	api := strings.HasPrefix(path, "../gateway/") && !isTest
	for {
		pos, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return
		case tok == token.COMMENT:
			r.cite(set.Position(pos).String(), text)
		case tok == token.STRING && isTest:
			for _, m := range inBraces.FindAllStringSubmatch(text, -1) {
				r.codes[m[1]] = set.Position(pos).String()
			}
		case tok == token.STRING && api:
			if name := strings.Trim(text, `"`); name == route.FindString(name) && name != "" {
				r.routes[name] = path
			}
		}
	}
}

// story looks at a story's comments.
func (r *tree) story(path, text string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			r.cite(path, line)
		}
	}
}

// cite finds codes in prose. A code stands by itself: a word that hangs on a hyphen, a dot, a slash
// or a quotation mark is somebody else's name, as in P-256, A.1 or "D1".
func (r *tree) cite(where, text string) {
	for _, w := range strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("(),;:–", c) }) {
		if w = strings.TrimRight(w, "."); wholeCode.MatchString(w) {
			r.codes[w] = where
		}
	}
	for _, m := range section.FindAllStringSubmatch(text, -1) {
		r.sections[m[1]] = where
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// row is one promise of the page.
type row struct{ code, shownBy string }

var rowLine = regexp.MustCompile(`(?m)^\| (` + letters + `[1-9][0-9]?) \|.*\| (.*) \|$`)

func rows(t *testing.T) (list []row) {
	for _, m := range rowLine.FindAllStringSubmatch(read(t, promises), -1) {
		list = append(list, row{m[1], m[2]})
	}
	return list
}

// TestEveryCodeIsPromised: a code that the repository cites is on the page of promises.
func TestEveryCodeIsPromised(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rows(t) {
		if known[r.code] {
			t.Errorf("%s has %s twice", promises, r.code)
		}
		known[r.code] = true
	}
	for code, where := range look(t).codes {
		if !known[code] {
			t.Errorf("%s cites %s, which %s does not have. Add its row; or, if it is the name of something else, put it into quotation marks.", where, code, promises)
		}
	}
}

var testName = regexp.MustCompile(`(?:([\w/-]+)\.)?((?:Test|Benchmark|Fuzz)[A-Z]\w*)|([\w-]+\.txtar)`)

// TestEveryShownTestExists: what is said to show a promise is in the tree, under that name.
func TestEveryShownTestExists(t *testing.T) {
	tests := look(t).tests
	for _, m := range testName.FindAllStringSubmatch(read(t, promises), -1) {
		name, folders := m[2]+m[3], tests[m[2]+m[3]]
		if !slices.Contains(folders, m[1]) {
			t.Errorf("%s names %s. There is: %s", promises, m[0], where(name, folders))
		}
	}
	for _, r := range rows(t) {
		if !testName.MatchString(r.shownBy) && !strings.Contains(r.shownBy, "ot built yet") && !strings.Contains(r.shownBy, "o test yet") {
			t.Errorf("%s: %s names no test. Name one, or say \"Not built yet\" or \"No test yet\".", promises, r.code)
		}
	}
}

// where names the tests of a name with their folders.
func where(name string, folders []string) string {
	var list []string
	for _, f := range folders {
		list = append(list, strings.TrimPrefix(f+"."+name, "."))
	}
	if list == nil {
		return "nothing of that name"
	}
	return strings.Join(list, ", ")
}

// TestContractHasEveryWord: what the wire shows, and what comments cite, is in the contract.
func TestContractHasEveryWord(t *testing.T) {
	text, r := read(t, contract), look(t)
	if len(r.words) < 60 || len(r.routes) < 30 {
		t.Fatalf("%d words and %d routes found", len(r.words), len(r.routes))
	}
	for word, path := range r.words {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("%s has %q, which %s does not name", path, word, contract)
		}
	}
	named := route.FindAllString(text, -1)
	for name, path := range r.routes {
		if !slices.Contains(named, name) {
			t.Errorf("%s has %s, which %s does not name", path, name, contract)
		}
	}
	for n, path := range r.sections {
		if !strings.Contains(text, "\n## "+n+". ") {
			t.Errorf("%s cites contract §%s, which there is not", path, n)
		}
	}
}

// prose gives the lines of a paper, with those of tables and code blocks left empty.
func prose(text string) []string {
	lines, code := strings.Split(text, "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(line, "```")
		if code != fence || fence || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
		code = code != fence
	}
	return lines
}

// TestProseIsNarrow: lines of prose have at most 120 columns.
func TestProseIsNarrow(t *testing.T) {
	for _, name := range papers {
		for i, line := range prose(read(t, name)) {
			if c := utf8.RuneCountInString(line); c > 120 {
				t.Errorf("%s:%d has %d columns, more than 120", name, i+1, c)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s#:]*)(?:#([^)\s]+))?\)`)

// TestLinksLead: links from one paper to another, and to files, lead somewhere.
func TestLinksLead(t *testing.T) {
	for _, name := range papers {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			target := name
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(name), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s: %s has no heading #%s", name, target, m[2])
			}
		}
	}
}

// anchors are a paper's headings as links name them.
func anchors(text string) (list []string) {
	for _, line := range prose(text) {
		if heading := strings.TrimLeft(line, "#"); strings.HasPrefix(heading, " ") && heading != line {
			list = append(list, strings.Map(func(c rune) rune {
				switch {
				case c == ' ':
					return '-'
				case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-' || c == '_':
					return unicode.ToLower(c)
				}
				return -1
			}, heading[1:]))
		}
	}
	return list
}

// TestReadmeIsOneScreen holds README.md to what somebody reads.
func TestReadmeIsOneScreen(t *testing.T) {
	if n := strings.Count(read(t, readme), "\n"); n > 120 {
		t.Errorf("%s has %d lines, more than 120: what is of use later belongs into %s or a folder's doc.go", readme, n, contract)
	}
}
