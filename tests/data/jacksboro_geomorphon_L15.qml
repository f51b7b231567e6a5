<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.34.0" styleCategories="AllStyleCategories" hasScaleBasedVisibilityFlag="0">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency />
      <colorPalette>
        <paletteEntry value="1" color="#dcdcdc" label="flat" alpha="255" />
        <paletteEntry value="2" color="#380000" label="peak" alpha="255" />
        <paletteEntry value="3" color="#c80000" label="ridge" alpha="255" />
        <paletteEntry value="4" color="#ff5014" label="shoulder" alpha="255" />
        <paletteEntry value="5" color="#fad23c" label="spur" alpha="255" />
        <paletteEntry value="6" color="#ffff3c" label="slope" alpha="255" />
        <paletteEntry value="7" color="#b4e614" label="hollow" alpha="255" />
        <paletteEntry value="8" color="#3cfa96" label="footslope" alpha="255" />
        <paletteEntry value="9" color="#0000ff" label="valley" alpha="255" />
        <paletteEntry value="10" color="#000038" label="pit" alpha="255" />
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1" />
    <huesaturation saturation="0" grayscaleMode="0" colorizeOn="0" invertColors="0" />
    <rasterresampler maxOversampling="2" />
  </pipe>
  <blendMode>0</blendMode>
</qgis>
