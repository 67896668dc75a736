/**
 * A person made of simple shapes, from back to front. Cloth is laid on each part in the part's own coordinates, so a
 * stripe runs round a sleeve whichever way the arm points; rounding and folds come from brightness alone.
 */
import type { RandomStream } from '@chameleon/core';
import type { Body, Chain } from './body.js';
import type { Cloth } from './camouflage.js';
import { type Canvas, paintShape, solid } from './canvas.js';
import { type Field, layeredNoise, valueNoise } from './noise.js';
import type { Cloths, Cut } from './outfit.js';
import { type Color, mixColors, scaleColor } from './palettes.js';
import { type Point, type Shape, ellipse, intersect, limb, polygon, rectangle } from './shapes.js';

/** A shape with what covers it. `from` and `to` are the axis of the cloth's coordinates, `bulk` (px) how round it looks. */
interface Part {
  readonly shape: Shape;
  readonly cover: Cloth | Color;
  readonly from: Point;
  readonly to: Point;
  readonly bulk: number;
}

export interface Figure {
  readonly body: Body;
  readonly cut: Cut;
  readonly cloths: Cloths;
}

/** Paints a person; `light` is -1 from the left … 1 from the right. */
export function paintFigure(canvas: Canvas, figure: Figure, light: number, random: RandomStream): void {
  const folds = layeredNoise(valueNoise(random), 2);
  for (const part of figureParts(figure)) paintPart(canvas, part, { head: figure.body.head, light, folds, depth: figure.cut.folds });
}

interface Shading {
  head: number;
  light: number;
  folds: Field;
  depth: number;
}

/** One part: darker towards its edge and away from the light, uneven where it is cloth. */
function paintPart(canvas: Canvas, { shape, cover, from, to, bulk }: Part, { head, light, folds, depth }: Shading): void {
  const length = Math.max(Math.hypot(to.x - from.x, to.y - from.y), 1e-6);
  const ax = (to.x - from.x) / length / head;
  const ay = (to.y - from.y) / length / head;
  const across = (x: number, y: number) => (x - from.x) * ay - (y - from.y) * ax;
  const along = (x: number, y: number) => (x - from.x) * ax + (y - from.y) * ay;
  // Each part begins at another place of the cloth, or sleeves and trouser legs would be copies of each other.
  const shiftU = (from.x * 0.37) % 9;
  const round = (x: number, y: number, distance: number) => {
    const inward = Math.min(1, Math.max(0, -distance / bulk));
    return (0.66 + 0.36 * Math.sqrt(inward)) * (1 + 0.16 * light * Math.max(-1, Math.min(1, (across(x, y) * head) / bulk)));
  };
  if (typeof cover !== 'function') return paintShape(canvas, shape, solid(cover, { shadeAt: round }));
  paintShape(canvas, shape, {
    colorAt: (x, y) => cover(across(x, y) + shiftU, along(x, y)),
    shadeAt: (x, y, distance) => round(x, y, distance) * (1 + depth * (folds(across(x, y) * 1.3 + shiftU, along(x, y) * 2.6) - 0.55)),
  });
}

/** All parts, the hindmost first. */
function figureParts({ body, cut, cloths }: Figure): Part[] {
  return [
    ...hairBehind(body, cut),
    ...body.legs.flatMap((leg) => legParts(leg, body, cut, cloths)),
    ...hipParts(body, cut, cloths),
    ...torsoParts(body, cut, cloths),
    ...headParts(body, cut, cloths),
    ...body.arms.flatMap((arm) => armParts(arm, body, cut, cloths)),
  ];
}

function legParts({ root, middle, end }: Chain, { head, build }: Body, cut: Cut, { bottom }: Cloths): Part[] {
  const thigh = 0.4 * build * head;
  const shin = 0.29 * build * head;
  const foot: Point = { x: end.x + Math.sign(end.x - root.x || 1) * 0.2 * head, y: end.y + 0.16 * head };
  const shoe: Part = { shape: limb({ x: end.x, y: end.y + 0.05 * head }, foot, 0.2 * head, 0.15 * head), cover: cut.leather, from: end, to: foot, bulk: 0.2 * head };
  const knee = mixPoints(root, middle, 0.85);
  switch (cut.legs) {
    case 'long':
      return [shoe, stroke(middle, end, shin, 0.24 * head, bottom), stroke(root, middle, thigh, shin, bottom)];
    case 'short':
      return [shoe, stroke(middle, end, 0.2 * head, 0.14 * head, cut.skin), stroke(root, middle, 0.3 * head, 0.2 * head, cut.skin), stroke(root, knee, thigh, 0.36 * build * head, bottom)];
    case 'skirt':
      return [shoe, stroke(middle, end, 0.19 * head, 0.13 * head, cut.skin), stroke(root, middle, 0.3 * head, 0.2 * head, cut.skin)];
  }
}

/** The seat of the trousers, or the skirt. */
function hipParts({ head, build, pelvis, legs }: Body, cut: Cut, { bottom }: Cloths): Part[] {
  const half = 0.62 * build * head;
  const [left, right] = legs;
  const below: Point = { x: pelvis.x, y: pelvis.y + head };
  const waist = [{ x: pelvis.x - half, y: pelvis.y - 0.5 * head }, { x: pelvis.x + half, y: pelvis.y - 0.5 * head }];
  const lower = cut.legs === 'skirt'
    ? [{ x: Math.max(right.middle.x, pelvis.x) + 0.35 * head, y: right.middle.y }, { x: Math.min(left.middle.x, pelvis.x) - 0.35 * head, y: left.middle.y }]
    : [{ x: right.root.x + 0.3 * build * head, y: pelvis.y + 0.25 * head }, { x: left.root.x - 0.3 * build * head, y: pelvis.y + 0.25 * head }];
  return [{ shape: polygon([...waist, ...lower], 0.1 * head), cover: bottom, from: pelvis, to: below, bulk: 0.7 * half }];
}

function torsoParts(body: Body, cut: Cut, { top }: Cloths): Part[] {
  const { head, neck, pelvis, build } = body;
  const place = trunkFrame(body);
  const shoulder = Math.abs(body.arms[1].root.x - body.arms[0].root.x) / 2 / head - 0.06;
  const waist = Math.max(0.52 * build, shoulder * 0.72);
  const hem = 2.45 + cut.hem;
  const outline = polygon([place(-0.24, -0.06), place(0.24, -0.06), place(shoulder, 0.2), place(waist, 1.7), place(waist + 0.1, hem), place(-waist - 0.1, hem), place(-waist, 1.7), place(-shoulder, 0.2)], 0.12 * head);
  const flat = (shape: Shape, cover: Cloth | Color, bulk = 0.08 * head): Part => ({ shape, cover, from: neck, to: pelvis, bulk });
  const dark = scaleColor(cut.bag, 0.8);
  const parts: Part[] = [
    { shape: limb(neck, body.headCenter, 0.24 * head, 0.22 * head), cover: scaleColor(cut.skin, 0.86), from: neck, to: pelvis, bulk: 0.3 * head },
    flat(outline, top, 0.62 * head),
    flat(polygon([place(-0.2, -0.2), place(0.2, -0.2), place(0, cut.front === 'closed' ? 0.2 : 0.42)], 0.05 * head), cut.front === 'closed' ? cut.skin : cut.shirt),
  ];
  if (cut.front === 'zip') parts.push(flat(limb(place(0, 0.4), place(0, hem), 0.025 * head, 0.025 * head), dark));
  if (cut.front === 'buttons') for (let along = 0.6; along < hem; along += 0.42) parts.push(flat(ellipse(place(0, along), 0.05 * head, 0.05 * head), cut.bag));
  if (cut.pockets) for (const side of [-1, 1]) parts.push(...pocket(place, side, top, flat, head));
  if (cut.belt) parts.push(flat(intersect(outline, limb(place(-waist - 0.3, 2.05), place(waist + 0.3, 2.05), 0.1 * head, 0.1 * head)), cut.leather));
  return [...parts, ...carriedParts(cut, place, { head, waist, shoulder }, flat)];
}

/** A breast pocket: a flap of the same cloth, moved a little, over its shadow. */
function pocket(place: (across: number, along: number) => Point, side: number, top: Cloth, flat: (shape: Shape, cover: Cloth | Color, bulk?: number) => Part, head: number): Part[] {
  const corners = (grow: number) => [place(side * 0.2 - grow, 0.72 - grow), place(side * 0.2 + side * 0.4 + grow, 0.72 - grow), place(side * 0.6 + grow, 1.12 + grow), place(side * 0.2 - grow, 1.12 + grow)];
  return [flat(polygon(corners(0), 0.04 * head), (u, v) => scaleColor(top(u, v), 0.7)), flat(polygon(corners(0), 0.01 * head), (u, v) => top(u + 0.06, v + 0.04), 0.04 * head)];
}

/** A vest, the straps of a rucksack or of a bag. */
function carriedParts(cut: Cut, place: (across: number, along: number) => Point, { head, waist, shoulder }: { head: number; waist: number; shoulder: number }, flat: (shape: Shape, cover: Cloth | Color, bulk?: number) => Part): Part[] {
  const strap = 0.09 * head;
  switch (cut.carries) {
    case 'nothing':
      return [];
    case 'vest':
      return [
        flat(polygon([place(-0.42, 0.5), place(0.42, 0.5), place(waist * 0.95, 1), place(waist * 0.9, 1.75), place(-waist * 0.9, 1.75), place(-waist * 0.95, 1)], 0.06 * head), cut.bag, 0.3 * head),
        ...[-1, 1].map((side) => flat(limb(place(side * 0.38, -0.02), place(side * 0.4, 0.6), strap, strap), cut.bag)),
        ...[-0.36, 0, 0.36].map((across) => flat(polygon([place(across - 0.13, 1.2), place(across + 0.13, 1.2), place(across + 0.13, 1.6), place(across - 0.13, 1.6)], 0.02 * head), scaleColor(cut.bag, 0.82))),
      ];
    case 'straps':
      return [-1, 1].map((side) => flat(limb(place(side * (shoulder - 0.28), -0.02), place(side * (waist - 0.05), 1.5), strap, strap), cut.bag));
    case 'sash':
      return [flat(limb(place(-shoulder + 0.2, 0), place(waist, 2), strap, strap), cut.bag)];
  }
}

function armParts({ root, middle, end }: Chain, { head, build }: Body, cut: Cut, { top }: Cloths): Part[] {
  const upper = 0.3 * build * head;
  const hand: Part = { shape: ellipse(mixPoints(middle, end, 1.1), 0.16 * head, 0.19 * head), cover: cut.skin, from: middle, to: end, bulk: 0.17 * head };
  switch (cut.sleeves) {
    case 'long':
      return [hand, stroke(middle, end, 0.24 * build * head, 0.18 * head, top), stroke(root, middle, upper, 0.24 * build * head, top)];
    case 'short':
      return [hand, stroke(middle, end, 0.18 * head, 0.13 * head, cut.skin), stroke(root, middle, 0.24 * head, 0.18 * head, cut.skin), stroke(root, mixPoints(root, middle, 0.6), upper, 0.3 * build * head, top)];
  }
}

function hairBehind({ head, headCenter }: Body, cut: Cut): Part[] {
  if (cut.hair !== 'long') return [];
  const below: Point = { x: headCenter.x, y: headCenter.y + 0.6 * head };
  return [{ shape: limb(headCenter, below, 0.5 * head, 0.42 * head), cover: cut.hairColor, from: headCenter, to: below, bulk: 0.4 * head }];
}

/** Head, face, hair and what is on it. */
function headParts({ head, headCenter: center }: Body, cut: Cut, { headwear }: Cloths): Part[] {
  const down: Point = { x: center.x, y: center.y + head };
  const place = (x: number, y: number): Point => ({ x: center.x + x * head, y: center.y + y * head });
  const part = (shape: Shape, cover: Cloth | Color, bulk = 0.3 * head): Part => ({ shape, cover, from: center, to: down, bulk });
  const skull = (grow: number) => ellipse(place(0, -0.02), (0.38 + grow) * head, (0.48 + grow) * head);
  const above = (shape: Shape, line: number) => intersect(shape, rectangle(center.x - head, center.y - 2 * head, center.x + head, center.y + line * head));
  const dark = scaleColor(cut.skin, 0.45);
  const eye = cut.glasses ? { width: 0.14, height: 0.09, color: [24, 24, 28] as const } : { width: 0.05, height: 0.035, color: mixColors(dark, [20, 16, 14], 0.6) };
  const parts = [
    part(skull(0), cut.skin, 0.36 * head),
    ...[-0.16, 0.16].map((x) => part(ellipse(place(x, -0.03), eye.width * head, eye.height * head), eye.color)),
    part(limb(place(-0.09, 0.25), place(0.09, 0.25), 0.022 * head, 0.022 * head), mixColors(cut.skin, [120, 40, 40], 0.45)),
  ];
  if (cut.hair !== 'none') parts.push(part(above(skull(0.04), -0.2), cut.hairColor));
  switch (cut.headwear) {
    case 'none':
      return parts;
    case 'cap':
      return [...parts, part(above(skull(0.06), -0.18), headwear), part(ellipse(place(0, -0.19), 0.42 * head, 0.09 * head), headwear, 0.1 * head)];
    case 'brim':
      return [...parts, part(above(skull(0.05), -0.2), headwear), part(ellipse(place(0, -0.22), 0.72 * head, 0.13 * head), headwear, 0.14 * head)];
    case 'helmet':
      return [...parts, part(above(skull(0.13), -0.08), headwear, 0.4 * head), part(limb(place(-0.36, -0.1), place(0, 0.44), 0.025 * head, 0.025 * head), cut.bag), part(limb(place(0.36, -0.1), place(0, 0.44), 0.025 * head, 0.025 * head), cut.bag)];
    case 'beanie':
      return [...parts, part(above(skull(0.08), -0.16), headwear), part(limb(place(-0.36, -0.2), place(0.36, -0.2), 0.08 * head, 0.08 * head), headwear, 0.08 * head)];
  }
}

/** Points of the trunk from coordinates in heads: across from the middle, along from the neck to the hips. */
function trunkFrame({ neck, pelvis, head }: Body): (across: number, along: number) => Point {
  const length = Math.hypot(pelvis.x - neck.x, pelvis.y - neck.y);
  const x = (pelvis.x - neck.x) / length;
  const y = (pelvis.y - neck.y) / length;
  return (across, along) => ({ x: neck.x + (across * y + along * x) * head, y: neck.y + (along * y - across * x) * head });
}

function stroke(from: Point, to: Point, startRadius: number, endRadius: number, cover: Cloth | Color): Part {
  return { shape: limb(from, to, startRadius, endRadius), cover, from, to, bulk: Math.max(startRadius, endRadius) };
}

function mixPoints(a: Point, b: Point, t: number): Point {
  return { x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t };
}
