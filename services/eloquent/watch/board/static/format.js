// Values as people read them. The names of the units are Grafana's, as in the definitions of the panels.

const SI = ["", "k", "M", "G", "T"];
const IEC = ["", "Ki", "Mi", "Gi", "Ti"];

function digits(value) {
  const size = Math.abs(value);
  if (size === 0 || size >= 100) return value.toFixed(0);
  if (size >= 10) return trim(value.toFixed(1));
  if (size >= 1) return trim(value.toFixed(2));
  return String(Number(value.toPrecision(2)));
}

const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

function scaled(value, base, prefixes) {
  let place = 0;
  let rest = value;
  while (Math.abs(rest) >= base && place < prefixes.length - 1) {
    rest /= base;
    place += 1;
  }
  return [digits(rest), prefixes[place]];
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${digits(value * 1e6)} µs`;
  if (size < 1) return `${digits(value * 1e3)} ms`;
  if (size < 120) return `${digits(value)} s`;
  return `${digits(value / 60)} min`;
}

export function format(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "percentunit") {
    const percent = value * 100;
    return `${Math.abs(percent) < 10 && percent % 1 !== 0 ? percent.toFixed(1) : percent.toFixed(0)} %`;
  }
  if (unit === "s") return seconds(value);
  const [number, prefix] = scaled(value, unit === "bytes" ? 1024 : 1000, unit === "bytes" ? IEC : SI);
  switch (unit) {
    case "bytes": return `${number} ${prefix}B`;
    case "Bps": return `${number} ${prefix}B/s`;
    case "pps": return `${number} ${prefix}p/s`;
    case "cps": return `${number}${prefix && ` ${prefix}`}/s`;
    default: return `${number}${prefix && ` ${prefix}`}`;
  }
}

export function clock(instant, withSeconds) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) options.second = "2-digit";
  return new Date(instant * 1000).toLocaleTimeString([], options);
}
