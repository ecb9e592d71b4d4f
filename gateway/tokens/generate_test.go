package tokens

import (
	"strings"
	"testing"

	"gardien/gateway"
)

// generate makes every vector and context.json.
func generate(t testing.TB) (map[string]vector, []byte) {
	g := &generator{TB: t, world: newWorld(t), vectors: map[string]vector{}}
	g.header = fields{{"alg", `"EdDSA"`}, {"typ", `"gardien-grant+jwt"`}, {"kid", quote(g.ed.kid)}}
	g.claims = fields{{"iss", `"colis-x.example"`}, {"aud", quote(string(g.gateway))}, {"jti", `"parcel-1"`},
		{"iat", "1790000000"}, {"nbf", "1790000000"}, {"exp", "1790086400"}, {"ver", "1"}, {"doors", `["front"]`}}
	g.grants()
	g.wrongClaims()
	g.wrongHeaders()
	g.wrongTexts()
	g.wrongSeals()
	g.proofs()
	g.dpops()
	g.descriptors()
	return g.vectors, g.context(t)
}

type generator struct {
	testing.TB
	*world
	header, claims fields
	vectors        map[string]vector
}

func (g *generator) put(name string, v vector) {
	if _, twice := g.vectors[name]; twice {
		g.Fatalf("vector %s stands twice", name)
	}
	if v.via == "" {
		v.via = "grant"
	}
	g.vectors[name] = v
}

// claim puts a grant of the first issuer, its claims edited.
func (g *generator) claim(expect, name, why string, edits ...string) {
	g.put(name, vector{expect: expect, why: why, text: g.signed(edits...)})
}

func (g *generator) signed(edits ...string) string {
	return sign(g.ed, g.header.String(), g.claims.with(edits...).String())
}

// head puts a grant with its header edited.
func (g *generator) head(expect, name, why string, edits ...string) {
	g.put(name, vector{expect: expect, why: why, text: sign(g.ed, g.header.with(edits...).String(), g.claims.String())})
}

func (g *generator) text(expect, name, why, text string) {
	g.put(name, vector{expect: expect, why: why, text: text})
}

func (g *generator) at(expect, name, why string, now int64, edits ...string) {
	g.put(name, vector{expect: expect, why: why, now: now, text: g.signed(edits...)})
}

func (g *generator) cnf() string { return `cnf={"jkt":` + quote(g.holder.kid) + `}` }

const (
	good              = "good"
	unknownCredential = string(gateway.UnknownCredential)
	badSignature      = string(gateway.BadSignature)
	unknownIssuer     = string(gateway.UnknownIssuer)
	wrongGateway      = string(gateway.WrongGateway)
	badProof          = string(gateway.BadProof)
	refused           = "refused"
)

func (g *generator) ecHeader() fields {
	return g.header.with(`alg="ES256"`, "kid="+quote(g.ec.kid))
}

func windows(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"days":["mon"],"from":"09:00","to":"10:00"},`, n), ",")
}

func window(from, to string) string {
	return `schedule={"windows":[{"days":["mon"],"from":"` + from + `","to":"` + to + `"}]}`
}

func (g *generator) grants() {
	c, h := g.claims.String(), g.header.String()
	g.claim(good, "good_eddsa", "the required claims alone, signed by an Ed25519 key, alg EdDSA")
	g.head(good, "good_ed25519_header", "RFC 9864's name of the same algorithm", `alg="Ed25519"`)
	g.text(good, "good_es256", "the issuer's other key, on P-256", sign(g.ec, g.ecHeader().String(), c))
	g.claim(good, "good_aud_list_of_one", "aud may be a list of one", "aud=["+quote(string(g.gateway))+"]")
	g.head(good, "good_unknown_header", "other header members are ignored", `x5t="AAAA"`, `cty="x"`, `hint={"a":[null]}`)
	g.claim(good, "good_unknown_claims", "unknown members are ignored and widen nothing", `role="admin"`, `admin=true`, `policy={"doors":["*"]}`, "nothing=null")
	g.text(good, "good_white_space", "JSON may have white space", sign(g.ed, " "+strings.ReplaceAll(h, ":", " :\t"), strings.ReplaceAll(c, ",", "\r\n , ")+"\n"))
	g.claim(good, "good_depth_5", "depth 5, the claims object counting as 1", `deep=[[[[]]]]`)
	g.text(good, "good_4096_bytes", "4,096 bytes exactly", padded(g, g.ed, g.header, g.claims, 4096))
	g.claim(good, "good_status_active", "the default, spelt out", `status="active"`)
	g.claim(good, "good_escapes", "a JSON string may be spelt with escapes", `jti="\u0070arcel\u002d1"`)
	g.claim(good, "good_status_revoked", "a revocation is a good document: the same grant, a higher ver", `status="revoked"`, "ver=2")
	g.claim(good, "good_eight_doors", "eight doors, one of them of 32 characters", `doors=["a","b","c","d","e","f","g-8","0123456789-abcdefghijklmnopqrstu"]`)
	g.claim(good, "good_jti_of_64", "jti of 64 characters, from the whole alphabet", `jti="A._-z0`+strings.Repeat("9", 58)+`"`)
	g.claim(good, "good_largest_ver", "ver is 2^53 - 1, the largest integer that every JSON reader keeps", "ver=9007199254740991")
	g.claim(good, "good_largest_uses", "uses is 2^31 - 1", "uses=2147483647")
	g.claim(good, "good_sub_of_64", "sub of 64 code points, which are more bytes and more UTF-16 units", `sub="`+strings.Repeat("é", 63)+`🚪"`)
	g.claim(good, "good_earliest_times", "2020-01-01T00:00:00Z is the earliest instant", "iat=1577836800", "nbf=1577836800", "exp=1577836801")
	g.claim(good, "good_latest_times", "2100-12-31T23:59:59Z is the latest instant", "nbf=4133980798", "exp=4133980799")
	g.claim(good, "good_schedule", "a schedule of one window", window("09:00", "12:30"))
	g.claim(good, "good_schedule_past_night", "to before from runs past midnight", window("22:00", "06:00"))
	g.claim(good, "good_schedule_24_hours", "to equal to from is 24 hours", window("09:00", "09:00"))
	g.claim(good, "good_schedule_to_2400", "to may be 24:00", window("00:00", "24:00"))
	g.claim(good, "good_schedule_last_min", "the last minute of a day", window("23:59", "00:00"))
	g.claim(good, "good_schedule_16_windows", "sixteen windows", `schedule={"windows":[`+windows(16)+`]}`)
	g.claim(good, "good_schedule_except", "days that are excepted, one of them a 29 February", `schedule={"windows":[`+windows(1)+`],"except":["2026-12-25","2028-02-29"]}`)
	g.claim(good, "good_cnf", "bound to a holder", g.cnf())
	g.claim(good, "good_every_claim", "every claim but pin", `doors=["front","cellar"]`, "ver=7", "uses=3", `sub="ref 4711"`, `status="active"`, g.cnf(),
		`schedule={"windows":[{"days":["mon","tue","wed","thu","fri","sat","sun"],"from":"08:05","to":"20:00"}],"except":["2026-12-25"]}`)
	g.claim(good, "good_other_issuer", "never used: replaced below")
	g.vectors["good_other_issuer"] = vector{expect: good, via: "grant", why: "the second issuer's key signs for the second issuer",
		text: sign(g.other, g.header.with("kid="+quote(g.other.kid)).String(), g.claims.with(`iss="menage-y.example"`).String())}
	g.text(good, "good_home", "issuer home: the gateway's own signing key", sign(g.signing, g.header.with(`alg="ES256"`, "kid="+quote(g.signing.kid)).String(), g.claims.with(`iss="home"`).String()))

	g.at(good, "good_now_is_nbf", "at nbf it is valid", 1790000000)
	g.at(good, "good_now_before_exp", "the last second", 1790086399)
	g.at(good, "good_iat_60_ahead", "iat may be 60 s ahead of now", 1790000000, "iat=1790000060")
	g.at("expired", "time_exp", "half-open: at exp it is over", 1790086400)
	g.at("expired", "time_long_over", "over for years", 1990086400)
	g.at("not_yet_valid", "time_before_nbf", "nbf has no leeway", 1789999999)
	g.at("not_yet_valid", "time_iat_61_ahead", "iat more than 60 s ahead of now", 1790000000, "iat=1790000061")
}
