import type { RandomStream } from '@chameleon/core';
import { between, chance, pick, pickWeighted, shuffle } from './dice.js';

/** Red, green and blue, 0 … 255. */
export type Color = readonly [number, number, number];

/** Families of cloth's colours. Camouflage and everyday clothes draw from the same ones, or colour alone would decide. */
const PALETTES = {
  woodland: ['#4b5a2e', '#6b5a3a', '#2a2b22', '#8d8a5c', '#3d4a2a', '#a39a6f', '#55432c'],
  olive: ['#5f6440', '#7a7d52', '#3c4029', '#98946a', '#4f4a33', '#2c2f20'],
  desert: ['#c9b083', '#a98d62', '#8a6d4a', '#dccaa4', '#6f573c', '#b79f78'],
  urban: ['#8b8f92', '#5a5e62', '#2b2d30', '#c3c6c8', '#dfe0df', '#70767c'],
  blue: ['#33486b', '#5b7395', '#1f2a40', '#8fa3b8', '#46586f', '#b9c6d2'],
  snow: ['#eceeec', '#c4cbc9', '#8f9a98', '#59625f', '#d9d3c4'],
  pink: ['#d98aa6', '#a34d70', '#6b2f4c', '#efc3d0', '#7d7079'],
  red: ['#9c3030', '#c75b4a', '#5a1f24', '#d9a08a', '#2f2526'],
  orange: ['#d9812f', '#a8551f', '#5d351d', '#edbb77', '#2d2a26'],
  violet: ['#6d558f', '#43335f', '#a08fbd', '#2a2338', '#c9bfd6'],
  lime: ['#9db83f', '#5f7d2a', '#d3d97a', '#33441f', '#20261a'],
} as const satisfies Record<string, readonly string[]>;

export type PaletteName = keyof typeof PALETTES;

/** How often a kind of clothes takes a palette. */
export type PaletteWeights = readonly (readonly [PaletteName, number])[];

/** `count` different colours of one palette, shifted together and each by itself; neighbours can be told apart. */
export function drawColors(random: RandomStream, count: number, weights: PaletteWeights): Color[] {
  const together = jitter(random, 14);
  const brightness = between(random, 0.82, 1.15);
  const colors: Color[] = [];
  const source = shuffle(random, PALETTES[pickWeighted(random, weights)]).map((hex) => {
    const own = jitter(random, 9);
    const [red, green, blue] = fromHex(hex);
    return clampColor(brightness * red + together[0] + own[0], brightness * green + together[1] + own[1], brightness * blue + together[2] + own[2]);
  });
  for (const color of source) if (colors.length < count && colors.every((other) => distance(color, other) > 38)) colors.push(color);
  return colors;
}

const SKIN = ['#f1d3bd', '#e8bfa0', '#d9a57f', '#c48a61', '#a36d48', '#84553a', '#63402d', '#46302a'];
const HAIR = ['#1c1714', '#2e211a', '#4a3222', '#6f4e2f', '#a67c49', '#8a8580', '#7a3d22', '#d0b070'];
const LEATHER = ['#1d1b1a', '#3a2a20', '#5b452f', '#7d6a4b', '#8b8b88', '#e3e1dc', '#2a3140', '#6b2e2a'];

export const drawSkin = (random: RandomStream) => varied(random, pick(random, SKIN), 8);
export const drawHair = (random: RandomStream) => varied(random, pick(random, HAIR), 8);
/** Of shoes, belts and bags. */
export const drawLeather = (random: RandomStream) => varied(random, pick(random, LEATHER), 10);

/** A colour near the one named, each channel off by up to `spread`. */
export function varied(random: RandomStream, hex: string, spread: number): Color {
  const [red, green, blue] = fromHex(hex);
  const level = between(random, -spread, spread);
  const own = jitter(random, spread / 2);
  return clampColor(red + level + own[0], green + level + own[1], blue + level + own[2]);
}

/** 256 colours from the first to the last, evenly spaced: what noise is painted with. `at(t)` cuts t to 0 … 1. */
export function colorRamp(...stops: readonly Color[]): (t: number) => Color {
  const table = Array.from({ length: 256 }, (_, i) => {
    const position = (i / 255) * (stops.length - 1);
    const index = Math.min(Math.floor(position), stops.length - 2);
    return mixColors(stops[index]!, stops[index + 1]!, position - index);
  });
  return (t) => table[t <= 0 ? 0 : t >= 1 ? 255 : (t * 255) | 0]!;
}

export function mixColors(a: Color, b: Color, t: number): Color {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t];
}

export function scaleColor([red, green, blue]: Color, factor: number): Color {
  return clampColor(red * factor, green * factor, blue * factor);
}

/** Any colour at all, seldom a loud one: for things of the background. */
export function drawAnyColor(random: RandomStream): Color {
  const level = between(random, 40, 215);
  const spread = chance(random, 0.25) ? 90 : 35;
  return clampColor(level + between(random, -spread, spread), level + between(random, -spread, spread), level + between(random, -spread, spread));
}

function jitter(random: RandomStream, spread: number): [number, number, number] {
  return [between(random, -spread, spread), between(random, -spread, spread), between(random, -spread, spread)];
}

function distance(a: Color, b: Color): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

function clampColor(red: number, green: number, blue: number): Color {
  return [clampLevel(red), clampLevel(green), clampLevel(blue)];
}

function clampLevel(level: number): number {
  return Math.max(0, Math.min(255, level));
}

function fromHex(hex: string): Color {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
