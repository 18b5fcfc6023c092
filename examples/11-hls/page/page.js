// A player in a few lines: the playlist, then its segments one behind the other. It knows nothing of signatures: the signed
// part of the playlist's address stands before its path, so whatever is relative to it carries it along.
const $ = (id) => document.getElementById(id);
let playing = 0; // counts up: what an earlier click began stops

async function post(path) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function get(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the machine refuses (${answer.status})`);
  return answer;
}

async function play() {
  const mine = (playing += 1);
  const sound = new AudioContext();
  try {
    say("Renting a machine for you …");
    const { playlist } = await post("/play");
    $("stop").disabled = false;
    const lines = (await (await get(playlist)).text()).split("\n");
    const segments = lines.filter((line) => line && !line.startsWith("#")).map((line) => new URL(line, playlist));
    let at = sound.currentTime + 0.1;
    let before; // resolves when the segment before is over: one is fetched ahead of the ear, and no more
    for (const [number, url] of segments.entries()) {
      if (playing !== mine) return;
      const source = sound.createBufferSource();
      source.buffer = await sound.decodeAudioData(await (await get(url)).arrayBuffer());
      source.connect(sound.destination);
      at = Math.max(at, sound.currentTime);
      source.start(at);
      at += source.buffer.duration;
      const over = new Promise((done) => { source.onended = done; });
      await before;
      before = over;
      if (playing !== mine) return;
      say(`Note ${number + 1} of ${segments.length}`);
      $("progress").value = (number + 1) / segments.length;
    }
    await before;
    if (playing === mine) say("That was all. Play it again?");
  } catch (error) {
    if (playing === mine) say(`It did not work: ${error.message}`);
  } finally {
    await sound.close();
  }
}

async function stop() {
  playing += 1;
  $("stop").disabled = true;
  $("progress").value = 0;
  try {
    await post("/stop");
    say("Your machine was given back.");
  } catch {
    say("That did not work; it goes away by itself when nobody listens.");
  }
}

function say(text) {
  $("status").textContent = text;
}

$("play").addEventListener("click", play);
$("stop").addEventListener("click", stop);
