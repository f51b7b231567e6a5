<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.34.0" styleCategories="AllStyleCategories" hasScaleBasedVisibilityFlag="0">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency />
      <colorPalette>
        <paletteEntry value="1" color="#e4e4e4" label="flat" alpha="255" />
        <paletteEntry value="2" color="#5e1914" label="peak" alpha="255" />
        <paletteEntry value="3" color="#b8443a" label="ridge" alpha="255" />
        <paletteEntry value="4" color="#e58b4f" label="shoulder" alpha="255" />
        <paletteEntry value="5" color="#f2c46d" label="spur" alpha="255" />
        <paletteEntry value="6" color="#f7efb9" label="slope" alpha="255" />
        <paletteEntry value="7" color="#b7d69c" label="hollow" alpha="255" />
        <paletteEntry value="8" color="#74c2a4" label="footslope" alpha="255" />
        <paletteEntry value="9" color="#3d85b8" label="valley" alpha="255" />
        <paletteEntry value="10" color="#1d3a75" label="pit" alpha="255" />
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1" />
    <huesaturation saturation="0" grayscaleMode="0" colorizeOn="0" invertColors="0" />
    <rasterresampler maxOversampling="2" />
  </pipe>
  <blendMode>0</blendMode>
</qgis>
