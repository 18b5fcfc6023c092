// Signed access, version 1, written from sdk/python/SPECIFICATION.md alone: what a gateway or a backend in JavaScript
// needs. Section numbers are those of the specification.

import { isUtf8 } from "node:buffer";
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";

const NAME = "atlas-session";
const PARAMETER = "atlas-access";
const FOLDER = `/${PARAMETER}`;
const URL_LIMIT = 8192;
const AUTHORITY_LIMIT = 259;
const KEY_BYTES = 32;
const WEEK_S = 604800;
const PATH_FORM_S = 900;
const LEEWAY_LIMIT_S = 60;
const OWN_PORTS = { http: "80", https: "443", ws: "80", wss: "443" };

/** Access is denied. `reason` is for the log, never for the caller. */
export class Denied extends Error {
  constructor(reason) {
    super(reason);
    this.name = "Denied";
    this.reason = reason;
  }
}

/** What a signer will not sign. The message is for who called it. */
export class Refused extends Error {
  name = "Refused";
}

function insist(condition, message) {
  if (!condition) throw new Refused(message);
}

function demand(condition, reason = "malformed") {
  if (!condition) throw new Denied(reason);
}

// ---------------------------------------------------------------------------------------------------- 1. Primitives

const bytesOf = (value) => (typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value));

export function hmac(key, ...data) {
  const mac = createHmac("sha256", key);
  for (const part of data) mac.update(part);
  return mac.digest();
}

/** RFC 5869. Node's own hkdfSync refuses an info of more than 1024 bytes, and a token's context may be longer. */
export function hkdf(key, info, { salt = NAME, length = 32 } = {}) {
  const secret = hmac(bytesOf(salt), key);
  const blocks = [];
  let last = Buffer.alloc(0);
  for (let counter = 1; blocks.length * 32 < length; counter += 1) {
    last = hmac(secret, last, bytesOf(info), Buffer.of(counter));
    blocks.push(last);
  }
  return Buffer.concat(blocks).subarray(0, length);
}

export function frame(...fields) {
  const parts = fields.map(bytesOf).flatMap((field) => [Buffer.from(`${field.length}:`), field, Buffer.from(",")]);
  return Buffer.concat(parts);
}

export const encodeB64 = (bytes) => Buffer.from(bytes).toString("base64url");

/** The bytes, or null. Node decodes leniently, so only a text that encoding gives back is taken. */
export function decodeB64(text) {
  const bytes = Buffer.from(text, "base64url");
  return encodeB64(bytes) === text ? bytes : null;
}

/** timingSafeEqual wants equal lengths; the lengths of what we compare are no secret. */
function equalTexts(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function checkedKey(key) {
  insist(key.length >= KEY_BYTES, `a key has ${KEY_BYTES} bytes or more`);
  return key;
}

// ------------------------------------------------------------------------------------- 2. Tokens, 3. Keys of a session

export const hashToken = (token) => createHash("sha256").update(token).digest("hex");

export const deriveToken = (key, context) =>
  `atlas_${encodeB64(hkdf(checkedKey(key), frame(NAME, "bearer", "1", context)))}`;

export function isToken(token) {
  return /^atlas_[A-Za-z0-9_-]{43}$/.test(token);
}

/** Whether one of the hashes is the token's. Every hash is compared, so that the time does not tell which. */
export function verifyToken(token, hashes) {
  const hash = isToken(token) ? hashToken(token) : "";
  return hashes.map((known) => hash !== "" && equalTexts(hash, known)).includes(true);
}

export const sessionKeyInfo = (purpose, sessionId, generation) =>
  frame(NAME, "key", "1", purpose, sessionId, String(generation));

export const sessionKey = (master, purpose, sessionId, generation) =>
  hkdf(checkedKey(master), sessionKeyInfo(purpose, sessionId, generation));

// -------------------------------------------------------------------------------------------------- 4.2 Networks

/** The eight groups of an IPv6 address that isIPv6 has accepted. */
function groupsOf(address) {
  const hexOnly = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...numbers) => {
    const [a, b, c, d] = numbers.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head, tail] = hexOnly.split("::").map((half) => (half === "" ? [] : half.split(":")));
  if (tail === undefined) return head.map((group) => parseInt(group, 16));
  const zeros = Array(8 - head.length - tail.length).fill("0");
  return [...head, ...zeros, ...tail].map((group) => parseInt(group, 16));
}

/** RFC 5952 with hexadecimal digits throughout: the first longest run of two or more zero groups becomes `::`. */
function spellIPv6(groups) {
  let [start, length] = [0, 1];
  for (let from = 0; from < 8; from += 1) {
    let to = from;
    while (to < 8 && groups[to] === 0) to += 1;
    if (to - from > length) [start, length] = [from, to - from];
  }
  const spell = (some) => some.map((group) => group.toString(16)).join(":");
  return length < 2 ? spell(groups) : `${spell(groups.slice(0, start))}::${spell(groups.slice(start + length))}`;
}

/** The network that a grant is bound to, or null when this is no address. */
export function network(address) {
  if (typeof address !== "string" || address.includes("%")) return null;
  if (isIPv4(address)) return `${address}/32`;
  if (!isIPv6(address)) return null;
  const groups = groupsOf(address);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return `${groups.slice(6).flatMap((group) => [group >> 8, group & 255]).join(".")}/32`;
  return `${spellIPv6([...groups.slice(0, 4), 0, 0, 0, 0])}/64`;
}

// ------------------------------------------------------------------------------------- 5. One spelling for each URL

const PRINTABLE = /^[!-~]*$/;
const UNRESERVED = /[A-Za-z0-9._~-]/;
const RAW_IN_PATH = /[A-Za-z0-9._~!$&'()*+,;=:@/-]/;

const isPlain = (text) => PRINTABLE.test(text) && !text.includes("\\");
const escapeOf = (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
const escapeUtf8 = (text) => [...Buffer.from(text, "utf8")].map(escapeOf).join("");

/** Give each escape and each raw character one spelling; `isForbidden` tells which bytes may not be escaped. */
function respell(text, { isForbidden, spellRaw }) {
  const bytes = [];
  const spelled = text.replace(/%(..)?|[^%]/gs, (token, digits) => {
    if (token[0] !== "%") {
      bytes.push(token.charCodeAt(0));
      return spellRaw(token);
    }
    demand(/^[0-9A-Fa-f]{2}$/.test(digits ?? ""));
    const byte = parseInt(digits, 16);
    demand(!isForbidden(byte));
    bytes.push(byte);
    const character = String.fromCharCode(byte);
    return UNRESERVED.test(character) ? character : escapeOf(byte);
  });
  demand(isUtf8(Buffer.from(bytes)));
  return spelled;
}

const isForbiddenInPath = (byte) => byte < 0x20 || byte === 0x7f || "/\\.".includes(String.fromCharCode(byte));

/** The path's one spelling. Throws Denied when it has none. */
export function canonicalPath(path) {
  demand(isPlain(path));
  if (path === "") return "/";
  demand(path.startsWith("/"));
  const spelled = respell(path, {
    isForbidden: isForbiddenInPath,
    spellRaw: (character) => (RAW_IN_PATH.test(character) ? character : escapeUtf8(character)),
  });
  demand(!spelled.includes("//"));
  // Some servers cut parameters (`;…`) off a segment before they resolve dots.
  demand(!spelled.split("/").some((segment) => [".", ".."].includes(segment.split(";")[0])));
  demand(spelled !== FOLDER && !spelled.startsWith(`${FOLDER}/`));
  return spelled;
}

function canonicalParameter(parameter) {
  demand(parameter !== "");
  const [name, ...values] = parameter.split("=");
  demand(values.length <= 1);
  const spell = (text) =>
    respell(text, {
      isForbidden: (byte) => byte === 0,
      spellRaw: (character) => {
        demand(UNRESERVED.test(character));
        return character;
      },
    });
  const key = spell(name);
  return { name: key, text: [key, ...values.map(spell)].join("=") };
}

/** The query's one spelling. Throws Denied when it has none. */
export function canonicalQuery(query) {
  if (query === "") return "";
  const parameters = query.split("&").map(canonicalParameter);
  // The texts are ASCII, so comparing them compares bytes; sort() keeps the order of equals.
  parameters.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
  return parameters.map(({ text }) => text).join("&");
}

const LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?";
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);

function canonicalHost(host) {
  if (HOST.test(host)) return host;
  const address = /^\[([0-9a-f:.]+)\]$/.exec(host)?.[1];
  demand(address !== undefined && isIPv6(address));
  return `[${spellIPv6(groupsOf(address))}]`;
}

/** Take an absolute URL apart. Path and query stay as they are. */
function splitUrl(url) {
  demand(typeof url === "string" && url.length <= URL_LIMIT && isPlain(url));
  const match = /^(https?|wss?):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  demand(match !== null);
  const [scheme, authority] = [match[1].toLowerCase(), match[2].toLowerCase()];
  demand(authority.length <= AUTHORITY_LIMIT);
  const [, host, port = OWN_PORTS[scheme]] = /^(\[[^\]]*\]|[^:]*)(?::([1-9][0-9]{0,4}))?$/.exec(authority) ?? [];
  demand(host !== undefined && Number(port) <= 65535);
  return { scheme, host: canonicalHost(host), port, path: match[3], query: match[4] ?? "" };
}

// ----------------------------------------------------------------------------------------------------- 4. The grant

const KID = /^[A-Za-z0-9_-]{1,32}$/;
const METHOD = /^[A-Z]{1,16}$/;
const TIME_LIMIT = 1e12;
const PREFIX_LIMIT = 9999;
const TIME = "[1-9][0-9]{0,11}";
const GENERATION = "0|[1-9][0-9]{0,11}";
const GENERATION_ALONE = new RegExp(`^(?:${GENERATION})$`);
const GRANT = new RegExp(
  "^(?<tag>[up]1)\\.(?<kid>[A-Za-z0-9_-]{1,32})" +
    `\\.(?<expires>${TIME})\\.(?<notBefore>${TIME})\\.(?<generation>${GENERATION})` +
    "\\.(?<method>[A-Z]{1,16})\\.(?<scope>x|p[1-9][0-9]{0,3})\\.(?<address>[-a])" +
    "\\.(?<nonce>-|[A-Za-z0-9_-]{16})\\.(?<signature>[A-Za-z0-9_-]{43})$",
);

/** The fields of a grant. Throws Denied when it has not the right form. */
export function parseGrant(text) {
  const fields = GRANT.exec(text)?.groups;
  demand(fields !== undefined);
  return {
    ...fields,
    signed: text.slice(0, -fields.signature.length - 1),
    expires: Number(fields.expires),
    notBefore: Number(fields.notBefore),
    prefixLength: fields.scope === "x" ? null : Number(fields.scope.slice(1)),
  };
}

/** The bytes that are signed (section 4.1). */
function messageOf(signed, { scheme, host, port }, path, query, boundTo) {
  return frame(NAME, signed, scheme, host, port, path, query, boundTo);
}

function keyOf(keys, kid) {
  // A kid may be `__proto__` or `constructor`: only keys that were put there count.
  const key = keys instanceof Map ? keys.get(kid) : Object.hasOwn(keys, kid) ? keys[kid] : undefined;
  demand(key !== undefined && key.length >= KEY_BYTES, "unknown_key");
  return key;
}

/** Rule 3. The prefix that the grant covers, or null for one exact URL. */
function checkSignature({ grant, parts, path, canonical }, key, address) {
  const prefix = grant.prefixLength === null ? null : path.slice(0, grant.prefixLength);
  if (prefix !== null) demand(grant.prefixLength <= path.length && prefix.endsWith("/"), "bad_signature");
  const boundTo = grant.address === "a" ? network(address) : "";
  demand(boundTo !== null, "bad_signature");
  const message = messageOf(grant.signed, parts, prefix ?? path, canonical, boundTo);
  demand(equalTexts(encodeB64(hmac(key, message)), grant.signature), "bad_signature");
  return prefix;
}

/** Rules 4 to 9. */
function checkGrant(grant, { method, generation, now, leeway, memory }, longest) {
  const seconds = grant.expires - grant.notBefore;
  demand(seconds >= 1 && seconds <= longest);
  demand(grant.generation === String(generation), "revoked");
  demand(now < grant.expires + leeway, "expired");
  demand(now >= grant.notBefore - leeway, "not_yet_valid");
  demand(grant.method === method || (grant.method === "GET" && method === "HEAD"), "wrong_method");
  if (grant.nonce === "-") return;
  demand(memory !== null && memory.isFirst(grant.nonce, grant.expires + leeway, now), "already_used");
}

/** Nonces that were seen, each until it can no longer be valid. For one process; several need a shared one. */
export class NonceMemory {
  #until = new Map();

  constructor(seen = []) {
    for (const nonce of seen) this.#until.set(nonce, Infinity);
  }

  isFirst(nonce, until, now) {
    for (const [old, end] of this.#until) if (end <= now) this.#until.delete(old);
    if (this.#until.has(nonce)) return false;
    this.#until.set(nonce, until);
    return true;
  }
}

// ------------------------------------------------------------------------------------------ 6. URL form, 7. Path form

/** Whether a server might read this parameter as ours: decoded and in lower case, its name is ours. */
function isOurs(parameter) {
  const name = parameter.split("=", 1)[0];
  const decoded = name.replace(/%([0-9A-Fa-f]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
  return decoded.toLowerCase() === PARAMETER;
}

/** Take the grant out of a query: its text, and the rest as it was. */
function takeParameter(query) {
  const parameters = query.split("&");
  const ours = parameters.filter(isOurs);
  demand(!parameters.includes("") && ours.length === 1 && ours[0].startsWith(`${PARAMETER}=`));
  return {
    grantText: ours[0].slice(PARAMETER.length + 1),
    rest: parameters.filter((parameter) => parameter !== ours[0]).join("&"),
  };
}

function openUrl(url) {
  const parts = splitUrl(url);
  const { grantText, rest } = takeParameter(parts.query);
  const grant = parseGrant(grantText);
  demand(grant.tag === "u1");
  // The signature covers the query's one spelling; the application gets what was sent, in the order it was sent in.
  const canonical = grant.prefixLength === null ? canonicalQuery(rest) : "";
  return { parts, grant, path: canonicalPath(parts.path), query: rest, canonical };
}

function openPath(url) {
  const parts = splitUrl(url);
  demand(!parts.query.split("&").some(isOurs));
  const match = /^\/atlas-access\/([^/]+)(.*)$/.exec(parts.path);
  demand(match !== null);
  const grant = parseGrant(match[1]);
  demand(grant.tag === "p1" && grant.method === "GET" && grant.prefixLength !== null && grant.nonce === "-");
  return { parts, grant, path: canonicalPath(match[2]), query: parts.query, canonical: "" };
}

function verify(open, longest, url, { keys, address = null, memory = null, ...request }) {
  const leeway = Math.min(Math.max(request.leeway ?? 5, 0), LEEWAY_LIMIT_S);
  const now = request.now ?? Date.now() / 1000;
  try {
    const opened = open(url);
    const { grant, path, query } = opened;
    const prefix = checkSignature(opened, keyOf(keys, grant.kid), address);
    checkGrant(grant, { ...request, now, leeway, memory }, longest);
    return { ok: true, path, query, prefix };
  } catch (error) {
    if (error instanceof Denied) return { ok: false, reason: error.reason };
    throw error;
  }
}

/**
 * Verify a URL whose grant is a query parameter: `{ ok: true, path, query, prefix }`, or `{ ok: false, reason }`.
 *
 * Options: keys (an object or a Map, of kid to bytes), method, generation; and address, now, leeway, memory as needed.
 */
export const verifyUrl = (url, options) => verify(openUrl, WEEK_S, url, options);

/** Verify a URL whose grant is in its path. The path in the answer is the one for the application. */
export const verifyPath = (url, options) =>
  verify(openPath, PATH_FORM_S, url, { ...options, method: options.method ?? "GET" });

// --------------------------------------------------------------------------------------------------------- Signing

/** Spaces and characters beyond ASCII, percent-encoded. */
function encodeForeign(url) {
  insist(url.isWellFormed(), "a surrogate without its other half has no UTF-8");
  return url.replace(/[ \u0080-\u{10ffff}]/gu, escapeUtf8);
}

/** What may not stand raw in a query is escaped; a `+` is a space, as in forms. The first `=` ends the name. */
function encodeParameter(parameter) {
  const encode = (text) => text.replaceAll("+", " ").replace(/[^A-Za-z0-9._~%-]/g, escapeUtf8);
  const [name, ...values] = parameter.split("=");
  return values.length === 0 ? encode(name) : `${encode(name)}=${encode(values.join("="))}`;
}

function encodeForSigning(url) {
  const encoded = encodeForeign(url);
  // Before a query is encoded: there is no encoding for a fragment, a backslash or a control character.
  insist(isPlain(encoded) && !encoded.includes("#"), "a URL to sign has no fragment, backslash or control character");
  const [, before, query] = /^([^?]*)(?:\?(.*))?$/.exec(encoded);
  return query ? `${before}?${query.split("&").map(encodeParameter).join("&")}` : before;
}

/** Take apart what is to be signed. A signer refuses what a verifier would. */
function openToSign(url) {
  try {
    const parts = splitUrl(encodeForSigning(url));
    demand(!parts.query.split("&").some(isOurs));
    return { ...parts, path: canonicalPath(parts.path), query: canonicalQuery(parts.query) };
  } catch (error) {
    throw error instanceof Denied ? new Refused("this URL has no spelling that can be signed") : error;
  }
}

function checkTimes(notBefore, expiresIn, longest) {
  const isWhole = Number.isInteger(expiresIn);
  insist(isWhole && expiresIn >= 1 && expiresIn <= longest, `expiresIn is 1 to ${longest} seconds`);
  insist(Number.isInteger(notBefore) && notBefore >= 1, "notBefore is unix seconds");
  insist(notBefore + expiresIn < TIME_LIMIT, "a time has 12 digits at most");
}

const originOf = ({ scheme, host, port }) => `${scheme}://${host}${port === OWN_PORTS[scheme] ? "" : `:${port}`}`;

/** Build and sign a grant. `message` is what was signed, for tests. */
function sign(parts, tag, { method, prefix, nonce }, longest, options) {
  const { key, kid, expiresIn, generation = 0, address = null } = options;
  const notBefore = options.notBefore ?? Math.floor(options.now ?? Date.now() / 1000);
  insist(KID.test(kid), "a key id has 1 to 32 characters of A–Z a–z 0–9 _ -");
  insist(METHOD.test(method), "a method is 1 to 16 capitals");
  insist(GENERATION_ALONE.test(String(generation)), "a generation is a number from 0, of 12 digits at most");
  insist(prefix === null || prefix.length <= PREFIX_LIMIT, `a prefix has ${PREFIX_LIMIT} characters at most`);
  checkTimes(notBefore, expiresIn, longest);
  const boundTo = address === null ? "" : network(address);
  insist(boundTo !== null, "this is no address");
  const scope = prefix === null ? "x" : `p${prefix.length}`;
  const bound = address === null ? "-" : "a";
  const signed = [tag, kid, notBefore + expiresIn, notBefore, generation, method, scope, bound, nonce].join(".");
  const message = messageOf(signed, parts, prefix ?? parts.path, prefix === null ? parts.query : "", boundTo);
  return { grant: `${signed}.${encodeB64(hmac(checkedKey(key), message))}`, message };
}

function checkedLength(signed) {
  insist(signed.length <= URL_LIMIT, `a signed URL has ${URL_LIMIT} characters at most`);
  return signed;
}

/**
 * Sign a URL: `{ signed, message }`. Options: key, kid, expiresIn, and method, prefix, notBefore, generation, address,
 * singleUse when they matter. With `prefix`, every path below the URL's, which ends with `/` and has no query.
 */
export function signUrl(url, options) {
  const parts = openToSign(url);
  const { method = "GET", singleUse = false } = options;
  const nonce = options.nonce ?? (singleUse ? encodeB64(randomBytes(12)) : "-");
  const prefix = options.prefix ? parts.path : null;
  insist(prefix === null || (prefix.endsWith("/") && parts.query === ""), "a prefix ends with / and has no query");
  insist(/^(?:-|[A-Za-z0-9_-]{16})$/.test(nonce), "a nonce has 16 characters of base64url");
  const { grant, message } = sign(parts, "u1", { method, prefix, nonce }, WEEK_S, options);
  const query = [parts.query, `${PARAMETER}=${grant}`].filter((part) => part !== "").join("&");
  return { signed: checkedLength(`${originOf(parts)}${parts.path}?${query}`), message };
}

/** Sign the folder of a URL without a query, in its path: for players that build the URLs of segments themselves. */
export function signPath(url, options) {
  const parts = openToSign(url);
  insist(parts.query === "", "the path form covers no query");
  const prefix = parts.path.slice(0, parts.path.lastIndexOf("/") + 1);
  const { grant, message } = sign(parts, "p1", { method: "GET", prefix, nonce: "-" }, PATH_FORM_S, options);
  return { signed: checkedLength(`${originOf(parts)}${FOLDER}/${grant}${parts.path}`), message };
}
