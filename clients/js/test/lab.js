// The real servers: a token server and an origin relay before it, as processes on loopback.

import { spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import net from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PYTHON = process.env.ELOQUENT_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));

const TRIALS = 5;

async function freePort(kind) {
  const socket = kind === "udp" ? dgram.createSocket("udp4").bind(0, "127.0.0.1") : net.createServer().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

async function start(...words) {
  if (!existsSync(PYTHON)) throw new Error(`${PYTHON} is not there: make dev, or name one with ELOQUENT_PYTHON`);
  const child = spawn(PYTHON, words, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await Promise.race([once(createInterface(child.stdout), "line"), once(child, "exit")]);
  if (line !== "ready") throw new Error(`${words.join(" ")} did not start`);
  return child;
}

/** Start a process at a free port, which somebody else may take before it does. */
async function startAt(kind, words) {
  for (let trial = 1; ; trial++) {
    const address = `127.0.0.1:${await freePort(kind)}`;
    try {
      return { address, child: await start(...words(address)) };
    } catch (error) {
      if (trial === TRIALS) throw error;
    }
  }
}

async function stop(child, signal = "SIGTERM") {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, "exit");
}

/** Start an origin relay before a server; `kill` and `restart` do so at the same address. */
export async function startOrigin(upstream) {
  const options = ["--upstream", upstream, "--plaintext", "--no-tcp", "--metrics", "127.0.0.1:0"];
  const words = (address) => ["-m", "eloquent.cli", "origin", ...options, "--listen", address];
  const { address, child } = await startAt("udp", words);
  let origin = child;
  return {
    webTransport: `https://${address}/eloquent`,
    kill: () => stop(origin, "SIGKILL"),
    restart: async () => (origin = await start(...words(address))),
    stop: () => stop(origin),
  };
}

/** Start a token server, `url` is of its API, and an origin relay before it. */
export async function startLab() {
  const words = (address) => ["-m", "eloquent.nodes.token_server", "--listen", "127.0.0.1:0", "--http", address];
  const { address: http, child: server } = await startAt("tcp", words);
  const origin = await startOrigin(`http://${http}`);
  return {
    url: `http://${http}/v1/chat/completions`,
    origin,
    webTransport: origin.webTransport,
    stop: () => Promise.all([stop(server), origin.stop()]),
  };
}
